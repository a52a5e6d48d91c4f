// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/dense_cholesky.hpp>

#include "context.hpp"

/// The cases of benchmarks/cg_vs_dense.cpp on any backend.
namespace cg_vs_dense {

using namespace diem;

/// V = diag(d) + u u' written out: adds d. Index: column.
struct add_diagonal {
    index_t n;
    DIEM_HOST_DEVICE void operator()(index_t j, const float* d, float* v) const { v[j * (n + 1)] += d[j]; }
};
/// `rows` entries of a column of M_i = m m' * V + variance I. Index: (item * n + column) * n / rows + part of the column.
struct write_out {
    index_t n, rows;
    float variance;
    DIEM_HOST_DEVICE void operator()(index_t index, const float* mask, const float* v, float* m) const {
        const index_t parts = n / rows, column = index / parts, i = column / n, c = column - i * n;
        const index_t first = (index - column * parts) * rows, end = first + rows;
        const float* own = mask + i * n;
        for (index_t r = first; r < end; ++r) m[column * n + r] = own[c] * own[r] * v[c * n + r];
        if (first <= c && c < end) m[column * n + c] += variance;
    }
};

enum class way { cg, cg_precond, dense, dense_by_products };

template <Backend B>
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
    [[nodiscard]] B& backend() { return b_; }

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
        const index_t rows = FineGrained<B> ? 1 : n_;
        b_.launch(items_ * n_ * (n_ / rows), rows, write_out{n_, rows, 1e-6F}, mask_.cview().data(),
                  full.cview().data(), m.view().data());
        batch<B, int> info(b_, items_, 1);
        b_.cholesky(as_matrices(m.view(), n_, n_), info.flat());
        b_.copy(rhs_.cview(), v_.view());
        b_.trsm(as_matrices(m.cview(), n_, n_), op::none, as_columns(v_.view()));
        b_.trsm(as_matrices(m.cview(), n_, n_), op::transpose, as_columns(v_.view()));
    }

    B b_ = make_backend<B>();
    index_t n_, items_;
    diffusion::gaussian<B> prior_;
    batch<B> mask_, rhs_, v_;
    diffusion::harmonic_covariance<B> harmonic_;
};

template <Backend B>
void run(benchmark::State& state, way how) {
    const index_t n = state.range(0), items = state.range(1);
    problem<B> p(n, items);
    const auto& memory = p.backend().memory();
    const std::size_t before = memory.bytes_in_use(), peak_before = memory.peak_bytes();
    const int iterations = p.solve(how);
    const std::size_t peak = memory.peak_bytes();
    const double residual = p.residual();
    if (!(residual <= 1e-3)) return fail(state, "residual " + std::to_string(residual));
    timed(state, p.backend(), [&] { p.solve(how); });
    state.SetItemsProcessed(state.iterations() * items);
    state.counters["residual"] = residual;
    state.counters["iterations"] = iterations;
    // The peak of the set-up may hide that of a small solve: then at most this.
    state.counters["bytes"] = static_cast<double>(std::max(peak, peak_before) - before) / static_cast<double>(items);
}

/// Every case, its name after `prefix`. A device has more items, so that small systems fill it, too.
template <Backend B>
void add_cases(const std::string& prefix) {
    using sizes_type = std::vector<std::pair<int, int>>;
    const sizes_type sizes = smoke()          ? sizes_type{{64, 4}}
                             : FineGrained<B> ? sizes_type{{64, 4096}, {192, 1024}, {768, 256}, {1536, 64}, {3072, 16}}
                                              : sizes_type{{64, 256}, {192, 64}, {768, 16}, {1536, 8}, {3072, 4}};
    const std::vector<std::pair<const char*, way>> ways = {{"cg", way::cg},
                                                           {"cg_precond", way::cg_precond},
                                                           {"dense", way::dense},
                                                           {"dense_by_products", way::dense_by_products}};
    for (const auto& [name, how] : ways)
        for (const auto& [n, items] : sizes)
            if (how != way::dense_by_products || n <= 768)
                benchmark::RegisterBenchmark((prefix + name).c_str(), run<B>, how)
                    ->Args({n, items})
                    ->Unit(benchmark::kMillisecond)
                    ->UseRealTime();
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace cg_vs_dense
