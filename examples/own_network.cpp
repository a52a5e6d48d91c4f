// SPDX-License-Identifier: Apache-2.0

// A network of one's own as a prior: two functions, and posterior samples with them.
#include <cmath>
#include <cstdio>

#include <diem/diem.hpp>

int main() {
    // [network]
    using backend = diem::eigen_backend<float>;
    backend b;
    const diem::index_t n = 64, samples = 256;

    // The "network": the denoiser of data x ~ N(1, 0.5^2 I), x_hat = x_t + gain (1 - x_t). A real one would call its
    // library with x_t.data(), sigma and x_hat.data() here.
    const auto gain = [](double sigma) { return sigma * sigma / (0.25 + sigma * sigma); };
    auto prior = diem::diffusion::score_model(
        n,
        [&](backend& on, auto x_t, double sigma, auto x_hat) {
            on.fill(x_hat, 1.0F);
            on.axpby(1 - gain(sigma), x_t, gain(sigma), x_hat);
        },
        [&](backend& on, auto /*x_t*/, double sigma, auto v, auto w) { on.axpby(1 - gain(sigma), v, 0.0, w); });
    if (!diem::testing::check_score_model(b, prior).passed()) return 1;
    // [network]

    // Every pixel is seen once as y = x + 0.1 z, and p(x | y) is known: N((4 + 100 y) / 104, 1 / 104).
    const diem::linop::identity a(n);
    const diem::linop::isotropic_covariance noise(n, 0.01);
    diem::batch<backend> y(b, n, samples), x(b, n, samples);
    b.fill(y.view(), 0.5F);
    diem::posterior::mmps posterior(b, prior, diem::posterior::observe(b, y.cview(), a, noise));
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::dpm_solver_2m_sde{},
                            {.steps = 64}, diem::random_key{.seed = 3}, x.view());

    double mean = 0, square = 0;
    for (const float v : diem::to_host(b, x)) {
        mean += double(v) / double(n * samples);
        square += double(v) * double(v) / double(n * samples);
    }
    const double deviation = std::sqrt(square - mean * mean);
    std::printf("posterior mean      %.4f, exact %.4f\n", mean, 54.0 / 104);
    std::printf("posterior deviation %.4f, exact %.4f\n", deviation, std::sqrt(1 / 104.0));
    return std::abs(mean - 54.0 / 104) <= 0.005 && std::abs(deviation - std::sqrt(1 / 104.0)) <= 0.005 ? 0 : 1;
}
