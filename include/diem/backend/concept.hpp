// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include <diem/backend/fft.hpp>
#include <diem/core/random.hpp>
#include <diem/core/view.hpp>

/// \file
/// What an algorithm may ask of the place where it runs. See docs/architecture.md, "Backend".
/// \snippet tests/examples/backend.cpp backend/concept.hpp

namespace diem {

template <class B>
using scalar_t = typename B::scalar;

namespace detail {
/// Members, not aliases: B is not to be deduced from a view, and nvcc's front end would try.
template <class B, class T>
struct views {
    using batch = batch_view<typename B::template pointer<T>>;
    using vector = vector_view<typename B::template pointer<T>>;
};
}  // namespace detail
template <class B, class T = scalar_t<B>>
using view_t = typename detail::views<B, T>::batch;
template <class B, class T = scalar_t<B>>
using const_view_t = typename detail::views<B, const T>::batch;
template <class B, class T = scalar_t<B>>
using vector_t = typename detail::views<B, T>::vector;
template <class B, class T = scalar_t<B>>
using const_vector_t = typename detail::views<B, const T>::vector;
template <class B, class T = scalar_t<B>>
using buffer_t = typename B::template buffer<T>;

/// Operand of `map` that has one value per item, the same for all its features.
template <class Pointer>
struct per_item {
    vector_view<Pointer> values;
};
template <class Pointer>
per_item(vector_view<Pointer>) -> per_item<Pointer>;

/// Operand of `map` that has one value per feature, the same for all items.
template <class Pointer>
struct per_feature {
    vector_view<Pointer> values;
};
template <class Pointer>
per_feature(vector_view<Pointer>) -> per_feature<Pointer>;

/// Whether a matrix operand of a product is transposed.
enum class op { none, transpose };

/// `count` column-major matrices `rows x cols`, matrix i at `data + i * stride`, columns `leading` apart.
/// `stride` 0 means the same matrix for every i.
template <class Pointer>
struct matrix_batch {
    using value_type = typename batch_view<Pointer>::value_type;

    Pointer data{};
    index_t rows = 0, cols = 0, leading = 0, stride = 0, count = 0;

    constexpr matrix_batch() = default;
    DIEM_HOST_DEVICE constexpr matrix_batch(Pointer d, index_t r, index_t c, index_t l, index_t s, index_t n)
        : data(d), rows(r), cols(c), leading(l), stride(s), count(n) {}
    template <class Other>
        requires(!std::is_same_v<Other, Pointer> && std::is_convertible_v<Other, Pointer>)
    DIEM_HOST_DEVICE constexpr matrix_batch(const matrix_batch<Other>& o)  // NOLINT(google-explicit-constructor)
        : matrix_batch(o.data, o.rows, o.cols, o.leading, o.stride, o.count) {}
};

template <class B, class T = scalar_t<B>>
using matrices_t = matrix_batch<typename B::template pointer<T>>;
template <class B, class T = scalar_t<B>>
using const_matrices_t = matrix_batch<typename B::template pointer<const T>>;

/// Each item of `v` seen as a `rows x cols` column-major matrix.
template <class Pointer>
constexpr matrix_batch<Pointer> as_matrices(const batch_view<Pointer>& v, index_t rows, index_t cols) {
    return {v.data(), rows, cols, rows, v.stride(), v.items()};
}
/// Each item of `v` seen as one column.
template <class Pointer>
constexpr matrix_batch<Pointer> as_columns(const batch_view<Pointer>& v) {
    return as_matrices(v, v.features(), 1);
}

namespace archetype {
/// The least functors the primitives must take: see `Backend`.
struct element_functor {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& a, const V& b) const {
        y = a * x + b;
    }
};
struct index_functor {
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* y, const int* status) const {
        if (status[i] == 0) y[i] = T(0);
    }
};
}  // namespace archetype

/// A place to run: memory, and a handful of primitives. Passed first and by reference, like an execution policy; it owns
/// threads or streams, library handles, and a pool from which buffers are served again without allocation.
/// Primitives may run asynchronously, in order; `download` and `synchronize` wait. All sizes are checked by the caller
/// except where noted. `T` below is float, double, int (and for memory operations any trivially copyable type).
///
/// Memory      `allocate<T>(n)` -> `buffer<T>` (move-only, `.data()`, `.size()`, uninitialised, back to the pool at the end)
///             `copy(from, to)`, `upload(host, to)`, `download(from, host)`, `fill(to, value)` on batch views of equal shape
/// map         `map(f, operands...)`: element-wise `f(V&...)` for every feature of every item. Operands are batch views of one
///             shape (written if not const), `per_item` and `per_feature` vectors. `f` is generic over its value V: a
///             scalar, or a fixed-size array of them with the same operators and (by ADL) exp, log, sqrt, sin, cos, abs.
/// launch      `launch(count, cost, f, pointers...)`: `f(i, raw pointers...)` for i = 0 .. count - 1 in any order;
///             `cost` is about the number of elements an index touches.
/// axpby       y = a x + b y with a, b either numbers or one number (float64) per item; an operand whose coefficient is
///             zero is not read, so that a NaN there does no harm.
/// dot         one inner product per item, accumulated in float64, the same for any number of threads.
/// gemm        C = alpha op(A) op(B) + beta C on batch views seen as column-major matrices features x items (sizes checked);
///             `gemm_batched` the same on `matrix_batch` operands. With beta 0 C is not read.
///             These, `cholesky`, `trsm` and `eigh` take views of float64 on every backend, whatever its scalar: all operands
///             of one type.
/// cholesky    A = L L' per matrix, in place in the lower triangle (the strict upper one is left); info 0, or 1 + the first
///             pivot that is not positive. `trsm(L, op, X)`: X = op(L)^-1 X. `eigh(A, w)`: symmetric eigen-decomposition of
///             one matrix (lower triangle read), A becomes the eigenvectors, w ascending.
/// fft2        `fft2(direction, height, width, x, y)`: the centred orthonormal transform of complex images; an item holds one
///             or more of them after one another, each height x width x (re, im). The zero frequency and the origin of the
///             image are at (height / 2, width / 2), rounded down:
///                 y[u, v] = (H W)^-1/2 sum over i, j of x[i, j] e^(-2 pi i ((u - H/2)(i - H/2) / H + (v - W/2)(j - W/2) / W))
///             and with e^(+2 pi i ..) its inverse, which is its adjoint. Any size >= 1. y may be x itself, but not overlap
///             it otherwise. Sizes are checked.
/// random      `fill_normal(key, y)`, `fill_uniform(key, y)`: element j of item i is `normal<T>(key, i, j)` of core/random.
template <class B>
concept Backend = requires(B& b, view_t<B> y, const_view_t<B> x, vector_t<B, double> out, const_vector_t<B, double> in,
                           vector_t<B, int> info, const_vector_t<B> c, matrices_t<B> m, const_matrices_t<B> cm,
                           host_view<scalar_t<B>> host, host_view<const scalar_t<B>> const_host, scalar_t<B> s,
                           index_t n, random_key key, archetype::element_functor f, archetype::index_functor g,
                           view_t<B, double> y64, matrices_t<B, double> m64, const_matrices_t<B, double> cm64) {
    requires std::floating_point<scalar_t<B>>;
    { b.template allocate<double>(n) } -> std::same_as<buffer_t<B, double>>;
    { b.template allocate<int>(n) } -> std::same_as<buffer_t<B, int>>;
    { b.threads() } -> std::convertible_to<int>;
    b.synchronize();
    b.copy(x, y);
    b.upload(const_host, y);
    b.download(x, host);
    b.fill(y, s);
    b.map(f, y, x, per_item{c}, per_feature{c});
    b.launch(n, n, g, y.data(), typename B::template pointer<const int>(info.data()));
    b.axpby(2.0, x, in, y);
    b.axpby(in, x, 1.0, y);
    b.dot(x, x, out);
    b.gemm(s, x, op::transpose, x, op::none, s, y);
    b.gemm_batched(s, cm, op::none, cm, op::transpose, s, m);
    b.cholesky(m, info);
    b.trsm(cm, op::none, m);
    b.gemm(1.0, const_view_t<B, double>(y64), op::transpose, const_view_t<B, double>(y64), op::none, 0.0, y64);
    b.gemm_batched(1.0, cm64, op::none, cm64, op::transpose, 0.0, m64);
    b.cholesky(m64, info);
    b.trsm(cm64, op::none, m64);
    b.eigh(y, vector_t<B>{});
    b.eigh(y64, vector_t<B, double>{});
    b.fft2(fft_direction::forward, n, n, x, y);
    b.fill_normal(key, y);
    b.fill_uniform(key, y);
};

}  // namespace diem
