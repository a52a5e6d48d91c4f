// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>

#include <diem/backend/eigen/simd_level.hpp>
#include <diem/core/view.hpp>

/// A register-blocked matrix product whose right factor is packed once and reused: C (+)= A B + bias, row-major.
///
/// B (K x N) is stored as panels of `simd<T>::panel` columns, [panel][k][column], the last one padded with zeros. A is
/// read in place, so nothing is allocated and nothing is copied per product. One call of the inner kernel keeps
/// `simd<T>::rows` x `simd<T>::panel` sums in registers: 6 x 16 floats with AVX2, 14 x 32 with AVX-512.
///
/// The vector width follows the compiler's target (GCC and Clang vector extensions, no intrinsics).
/// Every element of C is summed over k = 0 .. K - 1 in order, so a result does not depend on how the rows are split.

#if defined(__clang__)
#define DIEM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DIEM_UNROLL _Pragma("GCC unroll 16")
#endif

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Vectors of T as wide as the target has them.
template <class T>
struct simd {
#if defined(__AVX512F__)
    static constexpr int bytes = 64;
    static constexpr int rows = 14;
#elif defined(__AVX__)
    static constexpr int bytes = 32;
    static constexpr int rows = 6;
#else
    static constexpr int bytes = 16;
    static constexpr int rows = 6;
#endif
    static constexpr int width = bytes / static_cast<int>(sizeof(T));
    static constexpr int panel = 2 * width;  ///< columns of a packed panel

    typedef T vec __attribute__((vector_size(bytes)));
    typedef T loose __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));

    static vec load(const T* p) { return *reinterpret_cast<const loose*>(p); }
    static void store(T* p, vec v) { *reinterpret_cast<loose*>(p) = v; }

    /// The first `count` < width lanes; the others are zero and their memory is not touched.
    static vec load(const T* p, index_t count) {
        vec v = {};
        for (int i = 0; i < count; ++i) v[i] = p[i];
        return v;
    }
    static void store(T* p, vec v, index_t count) {
        for (int i = 0; i < count; ++i) p[i] = v[i];
    }

    /// Element j of vector i becomes element i of vector j. Each round interleaves the upper half of the vectors with the lower
    /// one, which turns the bits of (i, j) by one place.
    static void transpose(vec (&block)[width]) {
        constexpr int half = width / 2;
        for (int round = 1; round < width; round *= 2) {
            vec turned[width];
            DIEM_UNROLL for (int i = 0; i < half; ++i) {
                turned[2 * i] = interleave<0>(block[i], block[i + half], std::make_integer_sequence<int, width>());
                turned[2 * i + 1] =
                    interleave<half>(block[i], block[i + half], std::make_integer_sequence<int, width>());
            }
            DIEM_UNROLL for (int i = 0; i < width; ++i) block[i] = turned[i];
        }
    }

private:
    /// a[first], b[first], a[first + 1], b[first + 1], ...
    template <int first, int... i>
    static vec interleave(vec a, vec b, std::integer_sequence<int, i...>) {
        return __builtin_shufflevector(a, b, (first + i / 2 + i % 2 * width)...);
    }
};

/// The first `count` numbers of a vector, zeros after them; memory beyond them is not touched.
template <class T>
typename simd<T>::vec load_some(const T* p, index_t count) {
    return count >= simd<T>::width ? simd<T>::load(p) : simd<T>::load(p, count);
}

template <class T>
constexpr index_t round_up(index_t n, T to) {
    return (n + to - 1) / to * to;
}

/// Elements of a packed K x N factor.
template <class T>
constexpr index_t packed_size(index_t depth, index_t columns) {
    return depth * round_up(columns, simd<T>::panel);
}

/// Packs B (depth x columns): element (k, n) is at(k, n).
template <class T, class At>
void pack_panels(index_t depth, index_t columns, At at, T* packed) {
    constexpr int panel = simd<T>::panel;
    for (index_t first = 0; first < columns; first += panel)
        for (index_t k = 0; k < depth; ++k)
            for (index_t n = first; n < first + panel; ++n) *packed++ = n < columns ? at(k, n) : T(0);
}

/// How the factors of a product are stored: here as they are. A word of the size of T holds what a multiplication takes of
/// the depth at once: one number. See bfloat16.hpp for two.
template <class T>
struct exact_factors {
    using S = simd<T>;
    using left = T;
    using right = typename S::vec;

    /// Words of a depth, and the word of index k of it.
    static constexpr index_t words(index_t depth) { return depth; }
    static constexpr index_t word(index_t k) { return k; }
    /// Stores indices k .. k + width - 1 of one row; k is a multiple of the width.
    static void store_row(T* row, index_t k, right v) { S::store(row + k, v); }
    /// Stores index k of `width` columns, in rising order of k; `to` is the first one's word.
    static void store_columns(T* to, index_t /*k*/, right v) { S::store(to, v); }

    static left load_left(const T* p) { return *p; }
    static right load_right(const T* p) { return S::load(p); }
    static void add(right& sum, left a, right b) { sum += a * b; }
    /// Calls f with what stores, loads and multiplies: the members above.
    template <class F>
    static void with_arithmetic(F&& f) {
        f(exact_factors{});
    }
};

/// What becomes of sums: they are written, or added to what is there; or they went on from there, see tile_sums::read.
enum class sums_to { replace, add, go_on };

/// rows[i][0 .. columns - 1] (+)= scale sums[i]. Not inlined into every tile, as it is rare.
template <class T, int V>
[[gnu::noinline]] void write_some(const typename simd<T>::vec (*sums)[V], int count, T* const* rows, index_t columns,
                                  bool add, T scale) {
    using S = simd<T>;
    T buffer[V * S::width];
    columns = std::min<index_t>(columns, V * S::width);
    for (int i = 0; i < count; ++i) {
        DIEM_UNROLL for (int v = 0; v < V; ++v) S::store(buffer + v * S::width, scale * sums[i][v]);
        T* const to = rows[i];
        for (index_t n = 0; n < columns; ++n) to[n] = add ? to[n] + buffer[n] : buffer[n];
    }
}

/// Sums of R rows and V vectors of columns (a panel has two, its second one may be unused).
template <class T, int R, int V>
struct tile_sums {
    using S = simd<T>;
    typename S::vec at[R][V];

    /// Starts from zero, or from the bias of the panel's first `columns` columns.
    explicit tile_sums(const T* bias, index_t columns) {
        DIEM_UNROLL for (int v = 0; v < V; ++v) {
            typename S::vec start = {};
            const index_t lanes = columns - v * S::width;
            if (bias && lanes > 0)
                start = lanes >= S::width ? S::load(bias + v * S::width) : S::load(bias + v * S::width, lanes);
            DIEM_UNROLL for (int i = 0; i < R; ++i) at[i][v] = start;
        }
    }

    /// Goes on from sums that were written whole, see `write`.
    template <class Row>
    void read(Row row) {
        DIEM_UNROLL for (int i = 0; i < R; ++i) DIEM_UNROLL for (int v = 0; v < V; ++v) at[i][v] =
            S::load(row(i) + v * S::width);
    }

    /// += A B with A in R rows (row i is rows[i][0 .. words - 1]) and B one packed panel, both of factors P.
    template <class P = exact_factors<T>>
    void add(const T* const* rows, index_t words, const T* b) {
        P::with_arithmetic([&]<class Q>(Q) {
            const T* a[R];
            DIEM_UNROLL for (int i = 0; i < R; ++i) a[i] = rows[i];
            const T* from = b;
            for (index_t k = 0; k < words; ++k, from += S::panel) {
                typename Q::right right[V];
                DIEM_UNROLL for (int v = 0; v < V; ++v) right[v] = Q::load_right(from + v * S::width);
                DIEM_UNROLL for (int i = 0; i < R; ++i) {
                    const typename Q::left left = Q::load_left(a[i] + k);
                    DIEM_UNROLL for (int v = 0; v < V; ++v) Q::add(at[i][v], left, right[v]);
                }
            }
        });
    }

    /// += A' B over `words` rows of A (lda apart, R columns read) and of B (ldb apart, V vectors read).
    template <class P = exact_factors<T>>
    void add_outer(const T* a, index_t lda, const T* b, index_t ldb, index_t words) {
        P::with_arithmetic([&, a, b]<class Q>(Q) mutable {
            for (index_t k = 0; k < words; ++k, a += lda, b += ldb) {
                typename Q::right right[V];
                DIEM_UNROLL for (int v = 0; v < V; ++v) right[v] = Q::load_right(b + v * S::width);
                DIEM_UNROLL for (int i = 0; i < R; ++i) {
                    const typename Q::left left = Q::load_left(a + i);
                    DIEM_UNROLL for (int v = 0; v < V; ++v) Q::add(at[i][v], left, right[v]);
                }
            }
        });
    }

    /// Row i, from row(i) on, (+)= scale times the sums, of which `columns` exist.
    template <class Row>
    void write(Row row, index_t columns, bool add, T scale = 1) const {
        if (columns < V * S::width || scale != 1) {
            // Of a copy, as the sums themselves would stay in memory if that function knew where they are.
            typename S::vec copy[R][V];
            T* rows[R];
            DIEM_UNROLL for (int i = 0; i < R; ++i) {
                rows[i] = row(i);
                DIEM_UNROLL for (int v = 0; v < V; ++v) copy[i][v] = at[i][v];
            }
            write_some<T, V>(copy, R, rows, columns, add, scale);
        } else if (add) {
            DIEM_UNROLL for (int i = 0; i < R; ++i) DIEM_UNROLL for (int v = 0; v < V; ++v)
                S::store(row(i) + v * S::width, S::load(row(i) + v * S::width) + at[i][v]);
        } else {
            DIEM_UNROLL for (int i = 0; i < R; ++i) DIEM_UNROLL for (int v = 0; v < V; ++v)
                S::store(row(i) + v * S::width, at[i][v]);
        }
    }
};

/// Calls f<R>(first) with R = count <= Most.
template <int Most, class F>
void few_rows(index_t first, index_t count, F&& f) {
    if (count == Most) return f.template operator()<Most>(first);
    if constexpr (Most > 1) few_rows<Most - 1>(first, count, f);
}

/// Calls f<R>(first) for consecutive blocks of `R` rows, then for what is left: at once, or, more than eight rows, by halves.
/// Five rows of sums are enough to hide how long a multiplication takes, and so half as many sizes are compiled.
template <int R, class F>
void row_blocks(index_t first, index_t count, F&& f) {
    for (; count - first >= R; first += R) f.template operator()<R>(first);
    constexpr int most = R > 8 ? 8 : R - 1;
    static_assert(R <= 17);
    if constexpr (R > 8)
        if (count - first > most) {
            const index_t half = (count - first + 1) / 2;
            few_rows<most>(first, half, f);
            first += half;
        }
    if (first < count) few_rows<most>(first, count - first, f);
}

/// Calls f<R, V>(first): tiles of two vectors, or of one where the panel has no more columns.
template <class T, class F>
void tile_blocks(index_t count, index_t columns, F&& f) {
    if (columns > simd<T>::width)
        row_blocks<simd<T>::rows>(0, count, [&]<int R>(index_t r) { f.template operator()<R, 2>(r); });
    else
        row_blocks<8>(0, count, [&]<int R>(index_t r) { f.template operator()<R, 1>(r); });
}

/// C (count x columns, rows ldc apart) becomes, by `to`, scale (A (count x depth, rows lda apart) B + bias (may be null)), B
/// packed. `depth` in words. Sums that go on are of one panel and were written whole.
template <class T, class P = exact_factors<T>>
void gemm_packed(const T* a, index_t lda, index_t count, index_t depth, const T* packed, index_t columns, const T* bias,
                 T* c, index_t ldc, sums_to to, T scale = 1) {
    using S = simd<T>;
    for (index_t n = 0; n < columns; n += S::panel, packed += depth * S::panel)
        tile_blocks<T>(count, columns - n, [&]<int R, int V>(index_t r) {
            const T* row[R];
            DIEM_UNROLL for (int i = 0; i < R; ++i) row[i] = a + (r + i) * lda;
            const auto result = [&](int i) { return c + (r + i) * ldc + n; };
            tile_sums<T, R, V> sums(bias ? bias + n : nullptr, columns - n);
            if (to == sums_to::go_on) sums.read(result);
            sums.template add<P>(row, depth, packed);
            sums.write(result, columns - n, to == sums_to::add, scale);
        });
}

/// C (count x columns of one panel, rows ldc apart) (+)= scale A' B over `words` rows of A (lda apart) and of B (ldb apart).
template <class T, class P = exact_factors<T>>
void outer_product(const T* a, index_t lda, index_t count, index_t words, const T* b, index_t ldb, index_t columns,
                   T* c, index_t ldc, bool add, T scale = 1) {
    tile_blocks<T>(count, columns, [&]<int R, int V>(index_t r) {
        tile_sums<T, R, V> sums(nullptr, 0);
        sums.template add_outer<P>(a + r, lda, b, ldb, words);
        sums.write([&](int i) { return c + (r + i) * ldc; }, columns, add, scale);
    });
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
