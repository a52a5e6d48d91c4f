// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include <diem/backend/concept.hpp>
#include <diem/backend/fft.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/operand.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>

/// \file
/// The backend of plain loops: the oracle of tests.
/// \snippet tests/examples/backend.cpp backend/reference.hpp

namespace diem {

/// The oracle: every primitive as a plain loop on one thread. `Ptr` is the pointer type handed out; tests instantiate it
/// with one that host code cannot dereference.
template <std::floating_point T, template <class> class Ptr>
class basic_reference_backend {
public:
    using scalar = T;
    template <class U>
    using pointer = Ptr<U>;
    using pool = caching_pool<host_memory>;
    template <class U>
    using buffer = pool_buffer<pointer<U>, pool>;

    template <class U>
    [[nodiscard]] buffer<U> allocate(index_t n) {
        return {pool_, n};
    }
    [[nodiscard]] const pool& memory() const { return *pool_; }
    [[nodiscard]] int threads() const { return 1; }
    void synchronize() {}

    template <class P, class Q>
    void copy(const batch_view<P>& from, const batch_view<Q>& to) {
        check_shape("copy", "to", to, from.features(), from.items());
        move(detail::strided_of(from), detail::strided_of(to), to.features(), to.items());
    }
    template <class U, class Q>
    void upload(const batch_view<U*>& from, const batch_view<Q>& to) {
        check_shape("upload", "to", to, from.features(), from.items());
        move(detail::strided_of(from), detail::strided_of(to), to.features(), to.items());
    }
    template <class P, class U>
    void download(const batch_view<P>& from, const batch_view<U*>& to) {
        check_shape("download", "to", to, from.features(), from.items());
        move(detail::strided_of(from), detail::strided_of(to), to.features(), to.items());
    }
    template <class P>
    void fill(const batch_view<P>& to, typename batch_view<P>::value_type value) {
        const auto y = detail::strided_of(to);
        for (index_t i = 0; i < to.items(); ++i)
            for (index_t j = 0; j < to.features(); ++j) y.at(j, i) = value;
    }

    template <class F, class... Ops>
    void map(const F& f, const Ops&... operands) {
        const auto e = detail::common_extents(operands...);
        map_elements(f, e, detail::strided_of(operands)...);
    }
    template <class F, class... Pointers>
    void launch(index_t count, index_t /*cost*/, const F& f, Pointers... pointers) {
        for (index_t i = 0; i < count; ++i) f(i, detail::raw(pointers)...);
    }

    template <class A, class P, class C, class Q>
    void axpby(const A& a, const batch_view<P>& x, const C& b, const batch_view<Q>& y) {
        check_shape("axpby", "y", y, x.features(), x.items());
        detail::check_coefficient(a, x.items());
        detail::check_coefficient(b, x.items());
        const auto xs = detail::strided_of(x);
        const auto ys = detail::strided_of(y);
        for (index_t i = 0; i < x.items(); ++i) {
            const T ai = static_cast<T>(detail::coefficient(a, i)), bi = static_cast<T>(detail::coefficient(b, i));
            for (index_t j = 0; j < x.features(); ++j) {
                T value = 0;
                if (ai != 0) value += ai * xs.at(j, i);
                if (bi != 0) value += bi * ys.at(j, i);
                ys.at(j, i) = value;
            }
        }
    }
    template <class P, class Q, class R>
    void dot(const batch_view<P>& x, const batch_view<Q>& y, const vector_view<R>& out) {
        check_shape("dot", "y", y, x.features(), x.items());
        check_size("dot", "out.size()", out.size(), x.items());
        const auto xs = detail::strided_of(x);
        const auto ys = detail::strided_of(y);
        for (index_t i = 0; i < x.items(); ++i) {
            double sum = 0;
            for (index_t j = 0; j < x.features(); ++j)
                sum += static_cast<double>(xs.at(j, i)) * static_cast<double>(ys.at(j, i));
            detail::raw(out.data())[i] = sum;
        }
    }

    template <class P, class Q, class R>
    void gemm(typename batch_view<R>::value_type alpha, const batch_view<P>& a, op ta, const batch_view<Q>& b, op tb,
              typename batch_view<R>::value_type beta, const batch_view<R>& c) {
        detail::check_gemm(a, ta, b, tb, c);
        multiply(alpha, detail::raw(a.data()), a.stride(), ta, detail::raw(b.data()), b.stride(), tb, beta,
                 detail::raw(c.data()), c.stride(), c.features(), c.items(), ta == op::none ? a.items() : a.features());
    }
    template <class P, class Q, class R>
    void gemm_batched(typename matrix_batch<R>::value_type alpha, const matrix_batch<P>& a, op ta,
                      const matrix_batch<Q>& b, op tb, typename matrix_batch<R>::value_type beta,
                      const matrix_batch<R>& c) {
        detail::check_gemm(a, ta, b, tb, c);
        for (index_t i = 0; i < c.count; ++i)
            multiply(alpha, detail::raw(a.data) + i * a.stride, a.leading, ta, detail::raw(b.data) + i * b.stride,
                     b.leading, tb, beta, detail::raw(c.data) + i * c.stride, c.leading, c.rows, c.cols,
                     ta == op::none ? a.cols : a.rows);
    }

    template <class P, class Q>
    void cholesky(const matrix_batch<P>& a, const vector_view<Q>& info) {
        check_size("cholesky", "A.cols", a.cols, a.rows);
        check_size("cholesky", "info.size()", info.size(), a.count);
        for (index_t i = 0; i < a.count; ++i)
            detail::raw(info.data())[i] = factor(detail::raw(a.data) + i * a.stride, a.rows, a.leading);
    }
    template <class P, class Q>
    void trsm(const matrix_batch<P>& l, op t, const matrix_batch<Q>& x) {
        using S = typename matrix_batch<Q>::value_type;
        check_size("trsm", "L.cols", l.cols, l.rows);
        check_size("trsm", "X.rows", x.rows, l.rows);
        check_size("trsm", "L.count", l.count, x.count);
        const index_t n = l.rows;
        for (index_t i = 0; i < x.count; ++i)
            for (index_t c = 0; c < x.cols; ++c) {
                const S* m = detail::raw(l.data) + i * l.stride;
                S* v = detail::raw(x.data) + i * x.stride + c * x.leading;
                for (index_t s = 0; s < n; ++s) {
                    const index_t r = t == op::none ? s : n - 1 - s;
                    S sum = v[r];
                    if (t == op::none)
                        for (index_t k = 0; k < r; ++k) sum -= m[r + k * l.leading] * v[k];
                    else
                        for (index_t k = r + 1; k < n; ++k) sum -= m[k + r * l.leading] * v[k];
                    v[r] = sum / m[r + r * l.leading];
                }
            }
    }
    template <class P, class Q>
    void eigh(const batch_view<P>& a, const vector_view<Q>& w);

    template <class P, class Q>
    void fft2(fft_direction direction, index_t height, index_t width, const batch_view<P>& x, const batch_view<Q>& y) {
        detail::check_fft2(height, width, x, y);
        for (index_t i = 0; i < x.items(); ++i)
            for (index_t k = 0; k < x.features(); k += 2 * height * width)
                detail::fft2_by_definition<T>(direction, height, width, &detail::strided_of(x).at(k, i),
                                              &detail::strided_of(y).at(k, i));
    }

    template <class P>
    void fill_normal(const random_key& key, const batch_view<P>& y) {
        const auto ys = detail::strided_of(y);
        for (index_t i = 0; i < y.items(); ++i)
            for (index_t j = 0; j < y.features(); ++j)
                ys.at(j, i) = normal<T>(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
    }
    template <class P>
    void fill_uniform(const random_key& key, const batch_view<P>& y) {
        const auto ys = detail::strided_of(y);
        for (index_t i = 0; i < y.items(); ++i)
            for (index_t j = 0; j < y.features(); ++j)
                ys.at(j, i) = uniform<T>(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
    }

private:
    template <class X, class Y>
    static void move(X from, Y to, index_t features, index_t items) {
        for (index_t i = 0; i < items; ++i)
            if (features > 0)
                std::memmove(&to.at(0, i), &from.at(0, i), static_cast<std::size_t>(features) * sizeof(to.at(0, 0)));
    }
    template <class F, class... S>
    static void map_elements(const F& f, const detail::extents& e, S... operands) {
        for (index_t i = 0; i < e.items; ++i)
            for (index_t j = 0; j < e.features; ++j) call(f, operands.at(j, i)...);
    }
    template <class F, class... E>
    static void call(const F& f, E&... elements) {
        f(detail::value_or_reference<T>(elements)...);
    }
    template <class S>
    static void multiply(S alpha, const S* a, index_t lda, op ta, const S* b, index_t ldb, op tb, S beta, S* c,
                         index_t ldc, index_t m, index_t n, index_t k) {
        for (index_t j = 0; j < n; ++j)
            for (index_t i = 0; i < m; ++i) {
                S sum = 0;
                for (index_t l = 0; l < k; ++l)
                    sum += (ta == op::none ? a[i + l * lda] : a[l + i * lda]) *
                           (tb == op::none ? b[l + j * ldb] : b[j + l * ldb]);
                S& out = c[i + j * ldc];
                out = alpha * sum + (beta == 0 ? S(0) : beta * out);
            }
    }
    template <class S>
    static int factor(S* a, index_t n, index_t lda) {
        for (index_t j = 0; j < n; ++j) {
            S d = a[j + j * lda];
            for (index_t k = 0; k < j; ++k) d -= a[j + k * lda] * a[j + k * lda];
            if (!(d > 0)) return static_cast<int>(j) + 1;
            d = std::sqrt(d);
            a[j + j * lda] = d;
            for (index_t i = j + 1; i < n; ++i) {
                S s = a[i + j * lda];
                for (index_t k = 0; k < j; ++k) s -= a[i + k * lda] * a[j + k * lda];
                a[i + j * lda] = s / d;
            }
        }
        return 0;
    }

    std::shared_ptr<pool> pool_ = std::make_shared<pool>();
};

/// Cyclic Jacobi rotations: slow, simple, accurate to rounding.
template <std::floating_point T, template <class> class Ptr>
template <class P, class Q>
void basic_reference_backend<T, Ptr>::eigh(const batch_view<P>& view, const vector_view<Q>& w) {
    using S = typename batch_view<P>::value_type;
    const index_t n = view.features(), ld = view.stride();
    check_shape("eigh", "A", view, n, n);
    check_size("eigh", "w.size()", w.size(), n);
    S* const v = detail::raw(view.data());
    S* const values = detail::raw(w.data());
    auto work = allocate<S>(n * n);
    S* const a = detail::raw(work.data());
    for (index_t j = 0; j < n; ++j)
        for (index_t i = 0; i < n; ++i) a[i + j * n] = i >= j ? v[i + j * ld] : v[j + i * ld];
    for (index_t j = 0; j < n; ++j)
        for (index_t i = 0; i < n; ++i) v[i + j * ld] = i == j ? S(1) : S(0);
    for (int sweep = 0; sweep < 64; ++sweep) {
        bool rotated = false;
        for (index_t p = 0; p < n; ++p)
            for (index_t q = p + 1; q < n; ++q) {
                const S apq = a[p + q * n], app = a[p + p * n], aqq = a[q + q * n];
                const S small = std::numeric_limits<S>::epsilon() * std::sqrt(std::abs(app)) * std::sqrt(std::abs(aqq));
                if (apq == 0 || std::abs(apq) <= small / 8) continue;
                rotated = true;
                const S theta = (aqq - app) / (2 * apq);
                const S t = (theta >= 0 ? S(1) : S(-1)) / (std::abs(theta) + std::sqrt(theta * theta + 1));
                const S c = 1 / std::sqrt(t * t + 1), s = t * c;
                const auto rotate = [&](S& x, S& y) {
                    const S x0 = x;
                    x = c * x0 - s * y;
                    y = s * x0 + c * y;
                };
                for (index_t k = 0; k < n; ++k) rotate(a[k + p * n], a[k + q * n]);
                for (index_t k = 0; k < n; ++k) rotate(a[p + k * n], a[q + k * n]);
                for (index_t k = 0; k < n; ++k) rotate(v[k + p * ld], v[k + q * ld]);
            }
        if (!rotated) break;
    }
    for (index_t i = 0; i < n; ++i) values[i] = a[i + i * n];
    for (index_t i = 0; i < n; ++i) {  // selection sort, ascending
        index_t least = i;
        for (index_t k = i + 1; k < n; ++k)
            if (values[k] < values[least]) least = k;
        if (least == i) continue;
        std::swap(values[i], values[least]);
        for (index_t k = 0; k < n; ++k) std::swap(v[k + i * ld], v[k + least * ld]);
    }
}

namespace detail {
template <class T>
using host_pointer = T*;
}
/// Plain loops on host memory.
template <std::floating_point T = float>
using reference_backend = basic_reference_backend<T, detail::host_pointer>;

}  // namespace diem
