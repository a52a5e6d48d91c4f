// SPDX-License-Identifier: Apache-2.0

// One posterior system (Sigma_y + A V A') v = y - A x_hat of MMPS per item, solved two ways:
//   cg/n/items            matrix-free conjugate gradient to ||r|| <= 1e-5 ||b||
//   cg_precond/n/items    the same, with the preconditioner made of the Gaussian estimate (its set-up is timed too)
//   dense/n/items         Sigma_y + A V A' written out per item (V is one dense matrix), Cholesky, two triangular solves
//   dense_by_products/..  `solver::dense_cholesky`, which knows M only by its products (up to n = 768)
// Gaussian prior, diagonal + rank min(64, n / 2); sigma_t 1; A hides 75 % of the entries, one mask per item;
// sigma_y 1e-3; float. Every case is checked once before it is timed: its true ||b - M v|| / ||b|| must be below 1e-3.
// Counters, per item: `residual` that norm, the worst; `iterations` the most; `bytes` of memory at the peak beyond the
// problem; `time` per item is items_per_second inverted.
// DIEM_THREADS sets the number of threads (default: all cores). --smoke, or DIEM_SMOKE: the smallest size only.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/dense_cholesky.hpp>

#include "context.hpp"

namespace {

using namespace diem;
using B = eigen_backend<float>;

/// V = diag(d) + u u' written out: adds d. Index: column.
struct add_diagonal {
    index_t n;
    void operator()(index_t j, const float* d, float* v) const { v[j * (n + 1)] += d[j]; }
};
/// Column of M_i = m m' * V + variance I. Index: item * n + column.
struct write_out {
    index_t n;
    float variance;
    void operator()(index_t index, const float* mask, const float* v, float* m) const {
        const index_t i = index / n, c = index - i * n;
        const float* own = mask + i * n;
        float* column = m + index * n;
        for (index_t r = 0; r < n; ++r) column[r] = own[c] * own[r] * v[c * n + r];
        column[c] += variance;
    }
};

enum class way { cg, cg_precond, dense, dense_by_products };

class problem {
public:
    problem(index_t n, index_t items)
        : n_(n), items_(items), prior_(make_prior()), mask_(b_, n, items), rhs_(b_, n, items), v_(b_, n, items),
          harmonic_(prior_.harmonic(b_, sigma_t)) {
        linop::draw_mask(b_, {1, random_lane::user, 0, 0}, 0.25, 1, mask_.view());
        const auto a = forward();
        batch<B> x(b_, n, items), y(b_, n, items), x_t(b_, n, items), x_hat(b_, n, items);
        prior_.sample(b_, {1, random_lane::prior_sample, 0, 0}, x.view());
        posterior::simulate(b_, a, noise(), x.cview(), {1, random_lane::observation, 0, 0}, y.view());
        b_.fill_normal({1, random_lane::user, 1, 0}, x_t.view());
        b_.axpby(1.0, x.cview(), sigma_t, x_t.view());
        prior_.denoise(b_, x_t.cview(), sigma_t, x_hat.view());
        a.apply(b_, x_hat.cview(), rhs_.view());
        b_.axpby(1.0, y.cview(), -1.0, rhs_.view());
    }
    /// Iterations, where there are some.
    int solve(way how) {
        const auto a = forward();
        const auto cov_y = noise();
        const posterior::covariance_product<B, diffusion::harmonic_covariance<B>> product{harmonic_};
        const posterior::innovation<B, linop::mask<B>, linop::isotropic_covariance, decltype(product)> m(
            a, cov_y, product, items_);
        solver::cg_options o;
        o.max_iterations = 500;
        o.relative_tolerance = 1e-5;
        switch (how) {
            case way::cg:
                return solver::cg<B>(b_, m, rhs_, v_, o).to_host(b_).most_updates;
            case way::cg_precond: {
                const posterior::gaussian_preconditioner<B> p(b_, a, cov_y, harmonic_, items_);
                return solver::cg<B>(b_, m, p, rhs_, v_, o).to_host(b_).most_updates;
            }
            case way::dense_by_products:
                (void)solver::dense_cholesky<B>(b_, m, rhs_, v_);
                return 0;
            case way::dense:
                dense();
        }
        return 0;
    }
    /// max ||b - M v|| / ||b||, NaN if any is.
    double residual() {
        const auto a = forward();
        const auto cov_y = noise();
        batch<B> u(b_, n_, items_), w(b_, n_, items_), r(b_, n_, items_);
        a.apply_adjoint(b_, v_.cview(), u.view());
        harmonic_.apply(b_, u.cview(), w.view());
        a.apply(b_, w.cview(), r.view());
        b_.axpby(cov_y.variance(), v_.cview(), 1.0, r.view());
        b_.axpby(1.0, rhs_.cview(), -1.0, r.view());
        batch<B, double> rr(b_, items_, 1), bb(b_, items_, 1);
        b_.dot(r.cview(), r.cview(), rr.flat());
        b_.dot(rhs_.cview(), rhs_.cview(), bb.flat());
        const auto top = to_host(b_, rr), bottom = to_host(b_, bb);
        double worst = 0;
        for (std::size_t i = 0; i < top.size(); ++i) {
            const double e = std::sqrt(top[i] / bottom[i]);
            worst = e <= worst ? worst : e;
        }
        return worst;
    }
    [[nodiscard]] std::size_t bytes_in_use() const { return b_.memory().bytes_in_use(); }
    [[nodiscard]] std::size_t peak_bytes() const { return b_.memory().peak_bytes(); }

private:
    static constexpr double sigma_t = 1;

    [[nodiscard]] linop::mask<B> forward() const { return linop::mask<B>::per_item(mask_.view()); }
    [[nodiscard]] linop::isotropic_covariance noise() const { return {n_, 1e-6}; }
    diffusion::gaussian<B> make_prior() {
        const index_t rank = std::min<index_t>(64, n_ / 2);
        batch<B> mu(b_, n_, 1), d(b_, n_, 1), u(b_, n_, rank);
        b_.fill(mu.view(), 0);
        b_.fill(d.view(), 0.05F);
        b_.fill_normal({1, random_lane::user, 2, 0}, u.view());
        for (index_t k = 0; k < rank; ++k) {  // widths of the directions from 20 down to 2, as in images
            const double width = 20 - 18 * static_cast<double>(k) / static_cast<double>(std::max<index_t>(rank - 1, 1));
            const auto column = u.view().item_range(k, 1);
            b_.axpby(0.0, const_view_t<B>(column), width / std::sqrt(static_cast<double>(n_)), column);
        }
        return {b_, std::move(mu), std::move(d), std::move(u)};
    }
    void dense() {
        batch<B> full(b_, n_, n_), m(b_, n_ * n_, items_);
        b_.gemm(1, harmonic_.u(), op::none, harmonic_.u(), op::transpose, 0, full.view());
        b_.launch(n_, 1, add_diagonal{n_}, harmonic_.d().data(), full.view().data());
        b_.launch(items_ * n_, n_, write_out{n_, 1e-6F}, mask_.cview().data(), full.cview().data(), m.view().data());
        batch<B, int> info(b_, items_, 1);
        b_.cholesky(as_matrices(m.view(), n_, n_), info.flat());
        b_.copy(rhs_.cview(), v_.view());
        b_.trsm(as_matrices(m.cview(), n_, n_), op::none, as_columns(v_.view()));
        b_.trsm(as_matrices(m.cview(), n_, n_), op::transpose, as_columns(v_.view()));
    }

    B b_{threads()};
    index_t n_, items_;
    diffusion::gaussian<B> prior_;
    batch<B> mask_, rhs_, v_;
    diffusion::harmonic_covariance<B> harmonic_;
};

void run(benchmark::State& state, way how) {
    const index_t n = state.range(0), items = state.range(1);
    problem p(n, items);
    const std::size_t before = p.bytes_in_use(), peak_before = p.peak_bytes();
    const int iterations = p.solve(how);
    const std::size_t peak = p.peak_bytes();
    const double residual = p.residual();
    if (!(residual <= 1e-3)) return state.SkipWithError(("residual " + std::to_string(residual)).c_str());
    for (auto _ : state) p.solve(how);
    state.SetItemsProcessed(state.iterations() * items);
    state.counters["residual"] = residual;
    state.counters["iterations"] = iterations;
    // The peak of the set-up may hide that of a small solve: then at most this.
    state.counters["bytes"] = static_cast<double>(std::max(peak, peak_before) - before) / static_cast<double>(items);
}

}  // namespace

int main(int argc, char** argv) {
    bool smallest = smoke();
    const auto last = std::remove_if(argv + 1, argv + argc, [&](const char* arg) {
        const bool found = std::strcmp(arg, "--smoke") == 0;
        smallest = smallest || found;
        return found;
    });
    argc = static_cast<int>(last - argv);
    const std::vector<std::pair<int, int>> sizes =
        smallest ? std::vector<std::pair<int, int>>{{64, 4}}
                 : std::vector<std::pair<int, int>>{{64, 256}, {192, 64}, {768, 16}, {1536, 8}, {3072, 4}};
    const std::vector<std::pair<const char*, way>> ways = {{"cg", way::cg},
                                                           {"cg_precond", way::cg_precond},
                                                           {"dense", way::dense},
                                                           {"dense_by_products", way::dense_by_products}};
    for (const auto& [name, how] : ways)
        for (const auto& [n, items] : sizes)
            if (how != way::dense_by_products || n <= 768)
                benchmark::RegisterBenchmark(name, run, how)
                    ->Args({n, items})
                    ->Unit(benchmark::kMillisecond)
                    ->UseRealTime();
    return run_benchmarks(argc, argv, B(threads()).threads());
}
