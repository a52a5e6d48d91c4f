// SPDX-License-Identifier: Apache-2.0

// An operator of one's own, in twenty lines, and posterior samples through it. Explained in docs/tutorial.md.
#include <cmath>
#include <cstdio>
#include <vector>

#include <diem/diem.hpp>

// [operator]
/// A detector with big pixels: y_j = (x_2j + x_2j+1) / 2.
struct pair_average {
    using operator_tag = diem::linop::linear_tag;  // a promise: this map is linear
    diem::index_t pixels;

    // The items of a view are `stride` apart: k counts the items.
    struct forward {
        diem::index_t pairs, x_stride, y_stride;
        template <class T>
        void operator()(diem::index_t k, const T* x, T* y) const {
            const T* in = x + k * x_stride;
            for (diem::index_t j = 0; j < pairs; ++j) y[k * y_stride + j] = (in[2 * j] + in[2 * j + 1]) / 2;
        }
    };
    struct backward {
        diem::index_t pairs, y_stride, x_stride;
        template <class T>
        void operator()(diem::index_t k, const T* y, T* x) const {
            T* out = x + k * x_stride;
            for (diem::index_t j = 0; j < pairs; ++j) out[2 * j] = out[2 * j + 1] = y[k * y_stride + j] / 2;
        }
    };
    diem::index_t rows() const { return pixels / 2; }
    diem::index_t cols() const { return pixels; }
    diem::index_t items() const { return diem::linop::any_items; }  // the same map for every item
    pair_average items(diem::index_t, diem::index_t) const { return *this; }
    template <diem::Backend B>
    void apply(B& b, diem::const_view_t<B> x, diem::view_t<B> y) const {
        b.launch(x.items(), pixels, forward{rows(), x.stride(), y.stride()}, x.data(), y.data());
    }
    template <diem::Backend B>
    void apply_adjoint(B& b, diem::const_view_t<B> y, diem::view_t<B> x) const {
        b.launch(y.items(), pixels, backward{rows(), y.stride(), x.stride()}, y.data(), x.data());
    }
};
// [operator]

// [check]
bool keeps_its_promises(const pair_average& detector) {
    diem::eigen_backend<float> b;
    const diem::testing::report found = diem::testing::check_operator(b, detector);
    std::fputs(found.text().c_str(), stdout);
    return found.passed();
}
// [check]

int main() {
    if (!keeps_its_promises({.pixels = 16})) return 1;

    // [sampling]
    using backend = diem::eigen_backend<float>;
    static_assert(diem::linop::LinearOperator<pair_average, backend>);
    backend b;
    const diem::index_t n = 16, samples = 512;

    // A smooth random signal: N(0, Sigma), Sigma = 0.01 I + u u' with four cosines in u.
    std::vector<float> u(n * 4);
    for (diem::index_t k = 0; k < 4; ++k)
        for (diem::index_t j = 0; j < n; ++j)
            u[static_cast<std::size_t>(k * n + j)] =
                static_cast<float>(std::cos(3.14159 * k * (j + 0.5) / n) / (1 + k));
    diem::diffusion::gaussian<backend> prior(b, diem::to_backend(b, std::vector<float>(n, 0), n, 1),
                                             diem::to_backend(b, std::vector<float>(n, 0.01F), n, 1),
                                             diem::to_backend(b, u, n, 4));

    // One signal, observed through the detector with noise 0.1; `samples` copies of the observation.
    const pair_average detector{n};
    const diem::linop::isotropic_covariance noise(n / 2, 0.1 * 0.1);
    diem::batch<backend> truth(b, n, 1), y(b, n / 2, samples), x(b, n, samples);
    prior.sample(b, {.seed = 1}, truth.view());
    diem::posterior::simulate(b, detector, noise, truth.cview(), {.seed = 2}, y.view().item_range(0, 1));
    for (diem::index_t i = 1; i < samples; ++i) b.copy(y.cview().item_range(0, 1), y.view().item_range(i, 1));

    // The posterior is a denoiser like the prior: any sampler draws from it.
    diem::posterior::mmps posterior(b, prior, diem::posterior::observe(b, y.cview(), detector, noise),
                                    diem::posterior::tweedie{},
                                    diem::posterior::cg<>{.iterations = 8, .tolerance = 1e-3});
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::dpm_solver_2m_sde{},
                            {.steps = 64}, diem::random_key{.seed = 3}, x.view());
    // [sampling]

    const auto xs = diem::to_host(b, x), ts = diem::to_host(b, truth), ys = diem::to_host(b, y);
    std::puts("pixel    truth  observed  posterior mean  deviation");
    double worst = 0;
    for (std::size_t j = 0; j < std::size_t(n); ++j) {
        double mean = 0, square = 0;
        for (std::size_t i = 0; i < std::size_t(samples); ++i) {
            mean += double(xs[i * n + j]) / samples;
            square += double(xs[i * n + j]) * double(xs[i * n + j]) / samples;
        }
        const double deviation = std::sqrt(square - mean * mean);
        std::printf("%5zu %8.3f %9.3f %15.3f %10.3f\n", j, double(ts[j]), double(ys[j / 2]), mean, deviation);
        worst = std::max(worst, std::abs(mean - double(ts[j])) / deviation);
    }
    std::printf("largest error of the mean: %.1f posterior deviations\n", worst);
    return worst <= 5 ? 0 : 1;
}
