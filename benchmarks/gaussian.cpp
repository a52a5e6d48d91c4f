// SPDX-License-Identifier: Apache-2.0

// Gaussian prior, diagonal + rank 64, 3072 features, 75 % of the pixels hidden, sigma_y 1e-3:
//   mmps/256    one DDIM step of the posterior, 256 items, five cg iterations (mmps_precond: one preconditioned)
//   lap/1024    one lap of the Gaussian fit: 1024 items, 64 DDIM steps and the final denoiser call, then PPCA
// Counters: `residual` is the largest ||r|| / ||b|| of the last solve; `residual_over_noise` as in the peers.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <cmath>
#include <vector>

#include <diem/diem.hpp>

#include "context.hpp"

namespace {

using namespace diem;
using B = eigen_backend<float>;

struct setting {
    static constexpr index_t features = 3072, rank = 64;
    B b{threads()};
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
        const matrix_batch<float*> l(gram.view().data(), rank, rank, rank, 0, 1);
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
        b.trsm(l, op::none, matrix_batch<float*>(rows.view().data(), rank, features, rank, 0, 1));
        batch<B> out(b, features, rank);
        b.gemm(1, rows.cview(), op::transpose, diagonal.view(), op::none, 0, out.view());
        return {b, std::move(mu), std::move(d), std::move(out)};
    }
};

double largest_residual(B& b, const solver::solver_report& report, const_view_t<B> rhs) {
    batch<B, double> bb(b, rhs.items(), 1);
    b.dot(rhs, rhs, bb.flat());
    const auto norms = to_host(b, bb);
    double worst = 0;
    for (std::size_t i = 0; i < norms.size(); ++i)
        worst = std::max(worst, report.residual_norms[i] / std::sqrt(norms[i]));
    return worst;
}

void mmps_step(benchmark::State& state, const posterior::mmps_options& options) {
    setting s(state.range(0));
    B& b = s.b;
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
    for (const float v : to_host(b, x))
        if (!std::isfinite(v)) return state.SkipWithError("the step is not finite");
    for (auto _ : state) step();
    s.prior.denoise(b, x_t.cview(), sigma_t, r.view());
    b.map(functors::product{}, r.view(), r.cview(), s.mask.cview());
    b.axpby(1.0, s.y.cview(), -1.0, r.view());
    state.counters["residual"] = largest_residual(b, p.last_solve().to_host(b), r.cview());
}

void lap(benchmark::State& state) {
    setting s(state.range(0));
    B& b = s.b;
    posterior::mmps p(b, s.prior, s.observation(), {.max_iterations = 5});
    batch<B> x(b, s.features, state.range(0)), r(b, s.features, state.range(0));
    batch<B, double> rr(b, state.range(0), 1);
    std::uint32_t step = 0;
    for (auto _ : state) {
        diffusion::sample(b, p, diffusion::ve_log_linear{1e-3, 1e2}, diffusion::ddim{}, {.steps = 64},
                          random_key{3, 0, step++, 0}, x.view());
        const auto fit = train::ppca(b, x.cview(), {.rank = s.rank});
        benchmark::DoNotOptimize(fit);
    }
    b.map(functors::product{}, r.view(), x.cview(), s.mask.cview());
    b.axpby(1.0, s.y.cview(), -1.0, r.view());
    b.dot(r.cview(), r.cview(), rr.flat());
    double sum = 0;
    for (const double v : to_host(b, rr)) sum += v;
    const double ratio = std::sqrt(sum / static_cast<double>(r.view().size())) / 1e-3;
    state.counters["residual_over_noise"] = ratio;
    if (!std::isfinite(ratio)) state.SkipWithError("the lap is not finite");
}

}  // namespace

int main(int argc, char** argv) {
    const auto unit = benchmark::kMillisecond;
    const int step_items = smoke() ? 4 : 256, lap_items = smoke() ? 80 : 1024;
    benchmark::RegisterBenchmark("mmps", mmps_step, posterior::mmps_options{.max_iterations = 5})
        ->Arg(step_items)
        ->Unit(unit)
        ->UseRealTime();
    benchmark::RegisterBenchmark("mmps_precond", mmps_step,
                                 posterior::mmps_options{.max_iterations = 1, .precondition = true})
        ->Arg(step_items)
        ->Unit(unit)
        ->UseRealTime();
    benchmark::RegisterBenchmark("lap", lap)->Arg(lap_items)->Unit(unit)->UseRealTime();
    return run_benchmarks(argc, argv, B(threads()).threads());
}
