// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <diem/diem.hpp>

using backend = diem::eigen_backend<float>;
using network = diem::model::preconditioned<backend, diem::nn::unet<backend>>;

bool sample(backend& b, network& model);

bool sample(backend& b, network& model) {
    const diem::index_t n = model.features(), items = 3;
    diem::batch<backend> y(b, n, items), x(b, n, items);
    b.fill_normal({.seed = 2}, y.view());
    diem::posterior::mmps posterior(
        b, model,
        diem::posterior::observe(b, y.cview(), diem::linop::identity(n), diem::linop::isotropic_covariance(n, 0.01)),
        {.max_iterations = 1});
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::ddim{}, {.steps = 3},
                            diem::random_key{.seed = 3}, x.view());
    for (const float v : diem::to_host(b, x))
        if (!std::isfinite(v)) return false;
    return true;
}
