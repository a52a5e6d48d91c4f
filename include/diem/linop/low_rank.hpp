// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <numbers>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>

/// \file
/// The algebra of covariances that are diagonal + low rank, diag(d) + u u', and of what they become under an element-wise map
/// with independent noise. Everything about Gaussians in this library comes from here.
/// \snippet tests/examples/linop.cpp linop/low_rank.hpp

namespace diem::linop {

/// y += scale u u' x
template <Backend B>
void add_low_rank(B& b, double scale, const_view_t<B> u, const_view_t<B> x, view_t<B> y) {
    using T = scalar_t<B>;
    if (u.items() == 0) return;
    batch<B> t(b, u.items(), x.items());
    b.gemm(T(1), u, op::transpose, x, op::none, T(0), t.view());
    b.gemm(static_cast<T>(scale), u, op::none, t.cview(), op::none, T(1), y);
}

namespace detail {

struct convert_row {  // to = from, of another type; of column i
    index_t n, from_stride, to_stride;
    template <class Team, class P, class Q>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const P* from, Q* to) const {
        for (index_t j = team.first(); j < n; j += team.step())
            to[i * to_stride + j] = static_cast<Q>(from[i * from_stride + j]);
    }
};
/// e = noise + a^2 d and w = a^2 / e. What is not there: noise is `variance` where its stride is negative, a is 1 and d is 0
/// where told so.
struct innovation_weights {
    index_t n, noise_stride, a_stride;
    double variance;
    bool has_noise, has_a, has_d;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* noise, const T* a, const T* d, double* e,
                                     double* a64, double* w) const {
        for (index_t j = team.first(); j < n; j += team.step()) {
            const double aj = has_a ? static_cast<double>(a[i * a_stride + j]) : 1;
            const double nj = has_noise ? static_cast<double>(noise[i * noise_stride + j]) : variance;
            const double ej = nj + (has_d ? aj * aj * static_cast<double>(d[j]) : 0);
            e[i * n + j] = ej;
            w[i * n + j] = aj * aj / ej;
            if (has_a) a64[i * n + j] = aj;
        }
    }
};
/// Columns first + k of u times column `first`.
struct column_products {
    index_t n, first;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t k, const Team& team, const double* u, double* out) const {
        for (index_t j = team.first(); j < n; j += team.step())
            out[k * n + j] = u[first * n + j] * u[(first + k) * n + j];
    }
};
/// A matrix that could not be factored becomes NaN, and so does all that is made from it.
struct spoil_failed {
    index_t size;
    DIEM_HOST_DEVICE void operator()(index_t i, const int* info, double* l) const {
        if (info[i] == 0) return;
        for (index_t k = 0; k < size; ++k) l[i * size + k] = std::nan("");
    }
};
struct scaled_residual {  // z = (a / e) r; `shared`: one e and a for all columns
    index_t n, r_stride;
    bool shared, has_a;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* r, const double* e, const double* a,
                                     double* z) const {
        const index_t of = shared ? 0 : i * n;
        for (index_t j = team.first(); j < n; j += team.step())
            z[i * n + j] = static_cast<double>(r[i * r_stride + j]) * (has_a ? a[of + j] : 1) / e[of + j];
    }
};
struct innovation_solution {  // y = (r - a lift) / e
    index_t n, r_stride, y_stride;
    bool shared, has_a;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* r, const double* e, const double* a,
                                     const double* lift, T* y) const {
        const index_t of = shared ? 0 : i * n;
        for (index_t j = team.first(); j < n; j += team.step()) {
            const double rest = static_cast<double>(r[i * r_stride + j]) - (has_a ? a[of + j] : 1) * lift[i * n + j];
            y[i * y_stride + j] = static_cast<T>(rest / e[of + j]);
        }
    }
};
struct innovation_norm {  // |E^-1/2 (r - a lift)|^2 + |t|^2
    index_t n, rank, r_stride;
    bool shared, has_a;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* r, const double* e, const double* a,
                                     const double* lift, const double* t, double* out) const {
        const index_t of = shared ? 0 : i * n;
        double sum = 0;
        for (index_t j = team.first(); j < n; j += team.step()) {
            const double rest = static_cast<double>(r[i * r_stride + j]) - (has_a ? a[of + j] : 1) * lift[i * n + j];
            sum += rest * rest / e[of + j];
        }
        for (index_t k = team.first(); k < rank; k += team.step()) sum += t[i * rank + k] * t[i * rank + k];
        sum = team.sum(sum);
        if (team.first() == 0) out[i] = sum;
    }
};
struct innovation_log_determinant {  // sum log e + 2 sum log diag L
    index_t n, rank;
    bool shared;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const double* e, const double* l, double* out) const {
        using std::log;
        const index_t of = shared ? 0 : i;
        double sum = 0;
        for (index_t j = team.first(); j < n; j += team.step()) sum += log(e[of * n + j]);
        for (index_t k = team.first(); k < rank; k += team.step()) sum += 2 * log(l[of * rank * rank + k * (rank + 1)]);
        sum = team.sum(sum);
        if (team.first() == 0) out[i] = sum;
    }
};
struct normal_log_density {  // out = -(D log 2 pi + log det + out) / 2
    double constant;
    DIEM_HOST_DEVICE void operator()(index_t i, double* out, const double* log_det) const {
        out[i] = -(constant + log_det[i] + out[i]) / 2;
    }
};
struct unit_matrix {
    index_t rank;
    DIEM_HOST_DEVICE void operator()(index_t i, double* c) const {
        for (index_t k = 0; k < rank * rank; ++k) c[i * rank * rank + k] = k % (rank + 1) == 0 ? 1 : 0;
    }
};

}  // namespace detail

/// to = from, of another scalar type; any strides.
template <Backend B, class P, class Q>
void convert(B& b, const batch_view<P>& from, const batch_view<Q>& to) {
    check_shape("linop::convert", "to", to, from.features(), from.items());
    launch_rows(b, from.items(), from.features(), from.features(),
                detail::convert_row{from.features(), from.stride(), to.stride()}, from.data(), to.data());
}

/// S_i = N_i + A_i (diag(d) + u u') A_i for A_i = diag(a_i) and N_i = diag(n_i), one for all columns or one per item: the
/// covariance of y = A x + e. With
///
///     E = n + a^2 d,  C = I + u' (a^2 / E) u = L L',  t = C^-1 u' (a / E) r:
///
///     S^-1 r = E^-1 (r - a u t),  r'S^-1 r = |E^-1/2 (r - a u t)|^2 + |t|^2,  log det S = sum log E + 2 sum log L_kk.
///
/// Formed, factored and solved in float64 whatever the backend's scalar: C is I where u has nothing and (largest variance) / E
/// along its first column, and float32 loses that I, or half the digits of r - a u t, at a ratio of 1e7. Nothing is subtracted
/// but r - a u t. An item whose C is not positive definite (a number that is not finite) has NaN in all its results: a status
/// for a solver. Costs n r^2 per item as matrix products, memory 2 n + r^2 per item. Copies and slices share the factors.
template <Backend B>
class low_rank_innovation {
    using T = scalar_t<B>;
    using in64 = const_view_t<B, double>;
    using out64 = view_t<B, double>;

public:
    low_rank_innovation() = default;
    /// Memory for n features, rank r, and `items` matrices; `mapped`: there will be an A.
    low_rank_innovation(B& b, index_t features, index_t rank, index_t items, bool mapped)
        : data_(std::make_shared<storage>(
              storage{batch<B, double>(b, features, rank), batch<B, double>(b, features, items),
                      batch<B, double>(b, mapped ? features : 0, items), batch<B, double>(b, rank * rank, items),
                      batch<B, int>(b, items, 1)})),
          mapped_(mapped), count_(items) {}

    /// noise: n x items, or empty: `variance`; a: n x items (`mapped`), else empty; d: n, or empty: 0; u: n x r.
    void factor(B& b, const_view_t<B> noise, double variance, const_view_t<B> a, const_vector_t<B> d,
                const_view_t<B> u) {
        auto& [u_, e_, a_, l_, info_] = *data_;
        const index_t n = features(), r = rank(), m = items();
        batch<B, double> w(b, n, m);
        const bool has_noise = noise.size() > 0;
        launch_rows(
            b, m, n, 4 * n,
            detail::innovation_weights{n, noise.stride(), a.stride(), variance, has_noise, mapped_, d.size() > 0},
            noise.data(), a.data(), d.data(), e_.view().data(), a_.view().data(), w.view().data());
        if (r == 0) return;
        convert(b, u, u_.view());
        // Column k of the lower triangles of all C_i is one product with the columns u_k u_k, u_k u_(k+1), ...
        batch<B, double> products(b, n, r);
        for (index_t k = 0; k < r; ++k) {
            const auto part = products.view().item_range(0, r - k);
            launch_rows(b, r - k, n, n, detail::column_products{n, k}, u_.cview().data(), part.data());
            b.gemm(1.0, in64(part), op::transpose, w.cview(), op::none, 0.0,
                   l_.view().feature_range(k * (r + 1), r - k));
        }
        b.launch(m, r, functors::add_identity{r}, l_.view().data());
        b.cholesky(as_matrices(l_.view(), r, r), info_.flat());
        b.launch(m, 1, detail::spoil_failed{r * r}, info_.cview().data(), l_.view().data());
    }

    [[nodiscard]] index_t features() const { return data_->e.features(); }
    [[nodiscard]] index_t rank() const { return data_->u.items(); }
    [[nodiscard]] index_t items() const { return count_; }
    [[nodiscard]] low_rank_innovation items(index_t first, index_t count) const {
        low_rank_innovation part(*this);
        part.first_ += first;
        part.count_ = count;
        return part;
    }
    /// Nonzero for each item whose C is not positive definite; only where the rank is not 0.
    [[nodiscard]] const_vector_t<B, int> info() const {
        return std::as_const(*data_).info.flat().range(first_, count_);
    }
    /// E, n x items.
    [[nodiscard]] in64 e() const { return range(data_->e); }
    /// a, n x items, or empty.
    [[nodiscard]] in64 a() const { return range(data_->a); }

    /// y = S^-1 r. r, y: n x k, k the number of items, or any for one S.
    void solve(B& b, const_view_t<B> r, view_t<B> y) const {
        batch<B, double> t(b, rank(), r.items()), lift(b, features(), r.items());
        coefficients(b, r, t.view(), lift.view());
        launch_rows(b, r.items(), features(), 4 * features(),
                    detail::innovation_solution{features(), r.stride(), y.stride(), items() == 1, mapped_}, r.data(),
                    e().data(), a().data(), lift.cview().data(), y.data());
    }
    /// out_i = r_i'S_i^-1 r_i, a sum of squares.
    void mahalanobis(B& b, const_view_t<B> r, vector_t<B, double> out) const {
        batch<B, double> t(b, rank(), r.items()), lift(b, features(), r.items());
        coefficients(b, r, t.view(), lift.view());
        mahalanobis(b, r, t.cview(), lift.cview(), out);
    }
    /// The same from t and lift of `coefficients`.
    void mahalanobis(B& b, const_view_t<B> r, in64 t, in64 lift, vector_t<B, double> out) const {
        launch_rows(b, r.items(), features(), 4 * features(),
                    detail::innovation_norm{features(), rank(), r.stride(), items() == 1, mapped_}, r.data(),
                    e().data(), a().data(), lift.data(), t.data(), out.data());
    }
    void log_determinant(B& b, vector_t<B, double> out) const {
        launch_rows(b, out.size(), features(), 8 * features(),
                    detail::innovation_log_determinant{features(), rank(), items() == 1}, e().data(), l().data(),
                    out.data());
    }
    /// out_i = log N(r_i; 0, S_i), from t and lift of `coefficients`.
    void log_density(B& b, const_view_t<B> r, in64 t, in64 lift, vector_t<B, double> out) const {
        batch<B, double> log_det(b, r.items(), 1);
        mahalanobis(b, r, t, lift, out);
        log_determinant(b, log_det.flat());
        b.launch(r.items(), 1,
                 detail::normal_log_density{static_cast<double>(features()) * std::log(2 * std::numbers::pi)},
                 out.data(), log_det.cview().data());
    }
    /// t = C^-1 u' (a / E) r, rank x k, and lift = u t, n x k.
    void coefficients(B& b, const_view_t<B> r, out64 t, out64 lift) const {
        if (rank() == 0) return b.fill(lift, 0.0);
        launch_rows(b, r.items(), features(), 2 * features(),
                    detail::scaled_residual{features(), r.stride(), items() == 1, mapped_}, r.data(), e().data(),
                    a().data(), lift.data());
        b.gemm(1.0, u(), op::transpose, in64(lift), op::none, 0.0, t);
        solve_factor(b, op::none, t);
        solve_factor(b, op::transpose, t);
        b.gemm(1.0, u(), op::none, in64(t), op::none, 0.0, lift);
    }
    /// lift = u L'^-1 z, with covariance u C^-1 u' for z ~ N(0, I). z: rank x k, overwritten; lift: n x k.
    void color(B& b, out64 z, out64 lift) const {
        if (rank() == 0) return b.fill(lift, 0.0);
        solve_factor(b, op::transpose, z);
        b.gemm(1.0, u(), op::none, in64(z), op::none, 0.0, lift);
    }
    /// out_i = u L_i'^-1, n x r, whose product with its transpose is u C_i^-1 u', for the items first ..; out: n r x count.
    void roots(B& b, index_t first, out64 out) const {
        const index_t n = features(), r = rank(), count = out.items();
        if (r == 0) return;
        batch<B, double> inverse(b, r * r, count);
        b.launch(count, r * r, detail::unit_matrix{r}, inverse.view().data());
        b.trsm(const_matrices_t<B, double>(as_matrices(l().item_range(first, count), r, r)), op::none,
               as_matrices(inverse.view(), r, r));
        b.gemm_batched(1.0, const_matrices_t<B, double>(u().data(), n, r, n, 0, count), op::none,
                       const_matrices_t<B, double>(as_matrices(inverse.cview(), r, r)), op::transpose, 0.0,
                       as_matrices(out, n, r));
    }

private:
    /// t = op(L)^-1 t, one column per item.
    void solve_factor(B& b, op which, out64 t) const {
        const index_t r = rank();
        if (items() == 1)
            b.trsm(const_matrices_t<B, double>(l().data(), r, r, r, 0, 1), which,
                   matrices_t<B, double>(t.data(), r, t.items(), t.stride(), 0, 1));
        else
            b.trsm(const_matrices_t<B, double>(as_matrices(l(), r, r)), which, as_columns(t));
    }

    struct storage {
        batch<B, double> u, e, a, l;
        batch<B, int> info;
    };
    [[nodiscard]] in64 range(const batch<B, double>& of) const { return of.view().item_range(first_, count_); }
    [[nodiscard]] in64 u() const { return std::as_const(*data_).u.view(); }
    [[nodiscard]] in64 l() const { return range(data_->l); }

    std::shared_ptr<storage> data_;
    bool mapped_ = false;
    index_t first_ = 0, count_ = 0;
};

}  // namespace diem::linop
