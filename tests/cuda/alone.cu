// SPDX-License-Identifier: Apache-2.0

// One include and one type name are all that a unit for a device needs: a network's posterior, a fit from observations, and the
// features that samples are judged by.
#include <diem/cuda.cuh>

using backend = diem::cuda_backend<float>;
using network = diem::model::preconditioned<backend, diem::nn::unet<backend>>;

int main() {
    backend b;
    network model(b, diem::nn::unet<backend>({8, 8, 3, 1, {16, 24}, {1, 1}, 16, {{1, 2}}}));
    const diem::index_t n = model.features(), items = 4;
    const diem::linop::isotropic_covariance noise(n, 0.01);
    diem::batch<backend> y(b, n, items), mask(b, n, items), x(b, n, items);
    model.initialize(b, diem::random_key{1});
    b.fill(y.view(), 0.0F);
    b.fill(mask.view(), 1.0F);
    const auto seen = diem::posterior::observe(b, y.cview(), diem::linop::mask<backend>::per_item(mask.cview()), noise);

    diem::posterior::mmps posterior(b, model, seen, {.max_iterations = 2});
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::ddim{}, {.steps = 4},
                            diem::random_key{2}, x.view());

    const auto result = diem::prior::fit_gaussian(b, diem::prior::isotropic_gaussian(b, n), seen,
                                                  {.fit = {.max_laps = 2}, .ppca = {.rank = 4}});
    const diem::nn::inception_v3 judge({.size = 75, .divisor = 16});
    diem::batch<backend> weights(b, judge.parameters().size(), 1), f(b, judge.features(), items);
    b.fill(weights.view(), 0.0F);
    judge.forward<backend>(b, weights.flat(), {8, 8, 3}, x, f);
    return result.laps == 2 ? 0 : 1;
}
