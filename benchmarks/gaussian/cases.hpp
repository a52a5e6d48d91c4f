// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/train/ppca.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/gaussian.cpp on any backend.
namespace gaussian {

using namespace diem;

template <Backend B>
struct setting {
    static constexpr index_t features = 3072, rank = 64;
    B b = make_backend<B>();
    diffusion::gaussian<B> prior;
    batch<B> mask, x, y;

    explicit setting(index_t items)
        : prior(make_prior(b)), mask(b, features, items), x(b, features, items), y(b, features, items) {
        linop::draw_mask(b, {1, random_lane::user, 0, 0}, 0.25, 3, mask.view());
        prior.sample(b, {1, random_lane::prior_sample, 0, 0}, x.view());
        posterior::simulate(b, linop::mask<B>::per_item(mask.view()), noise(), x.cview(),
                            {1, random_lane::observation, 0, 0}, y.view());
    }
    [[nodiscard]] static linop::isotropic_covariance noise() { return {features, 1e-6}; }
    [[nodiscard]] auto observation() {
        return posterior::observe(b, y.cview(), linop::mask<B>::per_item(mask.view()), noise());
    }
    // Orthonormal columns times 20 .. 2, and 0.05 I.
    static diffusion::gaussian<B> make_prior(B& b) {
        batch<B> mu(b, features, 1), d(b, features, 1), u(b, features, rank), gram(b, rank, rank);
        b.fill(mu.view(), 0);
        b.fill(d.view(), 0.05F);
        b.fill_normal({1, random_lane::user, 1, 0}, u.view());
        b.gemm(1, u.cview(), op::transpose, u.cview(), op::none, 0, gram.view());
        batch<B, int> info(b, 1, 1);
        const matrices_t<B> l(gram.view().data(), rank, rank, rank, 0, 1);
        b.cholesky(l, info.flat());
        // L^-1 u' has orthonormal rows.
        std::vector<float> unit(rank * rank, 0), widths(rank * rank, 0);
        for (std::size_t k = 0; k < rank; ++k) {
            unit[k * rank + k] = 1;
            widths[k * rank + k] = 20.0F - 18.0F * static_cast<float>(k) / (rank - 1);
        }
        const auto identity = to_backend(b, unit, rank, rank), diagonal = to_backend(b, widths, rank, rank);
        batch<B> rows(b, rank, features);
        b.gemm(1, identity.view(), op::none, u.cview(), op::transpose, 0, rows.view());
        b.trsm(l, op::none, matrices_t<B>(rows.view().data(), rank, features, rank, 0, 1));
        batch<B> out(b, features, rank);
        b.gemm(1, rows.cview(), op::transpose, diagonal.view(), op::none, 0, out.view());
        return {b, std::move(mu), std::move(d), std::move(out)};
    }
};

template <Backend B>
double largest_residual(B& b, const solver::solver_report& report, const_view_t<B> rhs) {
    batch<B, double> bb(b, rhs.items(), 1);
    b.dot(rhs, rhs, bb.flat());
    const auto norms = to_host(b, bb);
    double worst = 0;
    for (std::size_t i = 0; i < norms.size(); ++i)
        worst = std::max(worst, report.residual_norms[i] / std::sqrt(norms[i]));
    return worst;
}

template <Backend B>
void mmps_step(benchmark::State& state, const posterior::mmps_options& options) {
    setting<B> s(state.range(0));
    auto& b = s.b;
    const diffusion::ve_log_linear schedule{1e-3, 1e2};
    const double sigma_t = schedule.sigma(0.6), sigma_s = schedule.sigma(0.6 - 1.0 / 64);
    batch<B> x_t(b, s.features, state.range(0)), x(b, s.features, state.range(0)), r(b, s.features, state.range(0));
    b.fill_normal({2, random_lane::user, 0, 0}, x_t.view());
    b.axpby(1.0, s.x.cview(), sigma_t, x_t.view());
    posterior::mmps p(b, s.prior, s.observation(), options, &s.prior);
    const auto step = [&] {
        b.copy(x_t.cview(), x.view());
        diffusion::ddim{}.step(b, p, diffusion::step_info{0, sigma_t, sigma_s}, diffusion::random_noise{random_key{}},
                               x.view());
    };
    step();
    if (!finite(b, x.cview())) return fail(state, "the step is not finite");
    timed(state, b, step);
    s.prior.denoise(b, x_t.cview(), sigma_t, r.view());
    b.map(functors::product{}, r.view(), r.cview(), s.mask.cview());
    b.axpby(1.0, s.y.cview(), -1.0, r.view());
    state.counters["residual"] = largest_residual(b, p.last_solve().to_host(b), r.cview());
}

template <Backend B>
void lap(benchmark::State& state) {
    setting<B> s(state.range(0));
    auto& b = s.b;
    posterior::mmps p(b, s.prior, s.observation(), {.max_iterations = 5});
    batch<B> x(b, s.features, state.range(0)), r(b, s.features, state.range(0));
    batch<B, double> rr(b, state.range(0), 1);
    std::uint32_t step = 0;
    timed(state, b, [&] {
        diffusion::sample(b, p, diffusion::ve_log_linear{1e-3, 1e2}, diffusion::ddim{}, {.steps = 64},
                          random_key{3, 0, step++, 0}, x.view());
        const auto fit = train::ppca(b, x.cview(), {.rank = s.rank});
        benchmark::DoNotOptimize(fit);
    });
    b.map(functors::product{}, r.view(), x.cview(), s.mask.cview());
    b.axpby(1.0, s.y.cview(), -1.0, r.view());
    b.dot(r.cview(), r.cview(), rr.flat());
    double sum = 0;
    for (const double v : to_host(b, rr)) sum += v;
    const double ratio = std::sqrt(sum / static_cast<double>(r.view().size())) / 1e-3;
    state.counters["residual_over_noise"] = ratio;
    if (!std::isfinite(ratio)) fail(state, "the lap is not finite");
}

/// Every case, its name after `prefix`.
template <Backend B>
void add_cases(const std::string& prefix) {
    const auto unit = benchmark::kMillisecond;
    const int step_items = smoke() ? 4 : 256, lap_items = smoke() ? 80 : 1024;
    benchmark::RegisterBenchmark((prefix + "mmps").c_str(), mmps_step<B>, posterior::mmps_options{.max_iterations = 5})
        ->Arg(step_items)
        ->Unit(unit)
        ->UseRealTime();
    benchmark::RegisterBenchmark((prefix + "mmps_precond").c_str(), mmps_step<B>,
                                 posterior::mmps_options{.max_iterations = 1, .precondition = true})
        ->Arg(step_items)
        ->Unit(unit)
        ->UseRealTime();
    benchmark::RegisterBenchmark((prefix + "lap").c_str(), lap<B>)->Arg(lap_items)->Unit(unit)->UseRealTime();
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace gaussian
