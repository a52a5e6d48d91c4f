// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <diem/backend/operand.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/core/view.hpp>

/// \file
/// Bodies of the backend's kernels: plain functions of an index.

namespace diem::detail::cuda {

/// k as (feature, item) of a batch. Devices divide 32-bit numbers several times faster.
struct element {
    index_t j, i;
    DIEM_HOST_DEVICE element(index_t k, index_t features, bool narrow) {
        if (narrow) {
            const auto q = static_cast<std::uint32_t>(k) / static_cast<std::uint32_t>(features);
            i = q;
            j = static_cast<index_t>(static_cast<std::uint32_t>(k) - q * static_cast<std::uint32_t>(features));
        } else {
            i = k / features;
            j = k - i * features;
        }
    }
    [[nodiscard]] static bool fits(index_t size) { return size <= 0xFFFFFFFF; }
};

/// f on the elements k of operands that are `strided`.
template <class T, class F>
struct map_body {
    F f;
    index_t features;
    bool narrow;
    template <class... S>
    DIEM_HOST_DEVICE void operator()(index_t k, S... operands) const {
        const element e(k, features, narrow);
        call(operands.at(e.j, e.i)...);
    }
    template <class... E>
    DIEM_HOST_DEVICE void call(E&... elements) const {
        f(value_or_reference<T>(elements)...);
    }
};

template <class U>
struct fill_body {
    index_t features, stride;
    bool narrow;
    U value;
    DIEM_HOST_DEVICE void operator()(index_t k, U* y) const {
        const element e(k, features, narrow);
        y[e.i * stride + e.j] = value;
    }
};
struct copy_body {
    index_t features, from_stride, to_stride;
    bool narrow;
    template <class U>
    DIEM_HOST_DEVICE void operator()(index_t k, const U* from, U* to) const {
        const element e(k, features, narrow);
        to[e.i * to_stride + e.j] = from[e.i * from_stride + e.j];
    }
};

/// A coefficient of axpby: one number, or one per item.
struct coefficient {
    double common;
    const double* items;
    [[nodiscard]] DIEM_HOST_DEVICE double at(index_t i) const { return items != nullptr ? items[i] : common; }
};
/// y = a x + b y; an operand whose coefficient is zero is not read, and where y would stay as it is nothing is.
template <class T>
struct axpby_body {
    index_t features, x_stride, y_stride;
    bool narrow;
    coefficient a, b;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* x, T* y) const {
        const element e(k, features, narrow);
        const T ai = static_cast<T>(a.at(e.i)), bi = static_cast<T>(b.at(e.i));
        if (ai == 0 && bi == 1) return;
        T* const to = y + e.i * y_stride + e.j;
        T value = 0;
        if (ai != 0) value += ai * x[e.i * x_stride + e.j];
        if (bi != 0) value += bi * *to;
        *to = value;
    }
};

/// One block of a sum: features first .. last - 1 of one item, every thread a part of them.
template <class T>
struct dot_body {
    const T *x, *y;
    double* out;
    index_t features, x_stride, y_stride, chunk, chunks;
    [[nodiscard]] DIEM_HOST_DEVICE double part(index_t block, int t) const {
        const index_t i = block / chunks, first = (block - i * chunks) * chunk;
        const index_t last = first + chunk < features ? first + chunk : features;
        const T *const a = x + i * x_stride, *const b = y + i * y_stride;
        double sum = 0;
        for (index_t j = first + t; j < last; j += 256) sum += static_cast<double>(a[j]) * static_cast<double>(b[j]);
        return sum;
    }
    DIEM_HOST_DEVICE void finish(index_t block, double sum) const { out[block] = sum; }
};
/// Short items: one thread each.
template <class T>
struct short_dot_body {
    index_t features, x_stride, y_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, const T* y, double* out) const {
        double sum = 0;
        for (index_t j = 0; j < features; ++j)
            sum += static_cast<double>(x[i * x_stride + j]) * static_cast<double>(y[i * y_stride + j]);
        out[i] = sum;
    }
};
/// The chunks of an item together.
struct sum_chunks {
    index_t chunks;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* parts, double* out) const {
        double sum = 0;
        for (index_t k = 0; k < chunks; ++k) sum += parts[i * chunks + k];
        out[i] = sum;
    }
};

/// addresses[i] = base + i stride: what batched library calls ask for.
template <class U>
struct address_body {
    index_t stride;
    DIEM_HOST_DEVICE void operator()(index_t i, U* base, U** addresses) const { addresses[i] = base + i * stride; }
};
/// n x n matrices to where they follow one another without gaps.
struct copy_square {
    index_t n, leading, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const T* from, T* to) const {
        const index_t column = k / n, m = column / n;
        to[k] = from[m * stride + (column - m * n) * leading + (k - column * n)];
    }
};
/// The lower triangles of n x n matrices, back from where they were factored.
struct copy_lower {
    index_t n, leading, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const T* from, T* to) const {
        const index_t column = k / n, i = k - column * n, m = column / n, j = column - m * n;
        if (i >= j) to[m * stride + j * leading + i] = from[k];
    }
};
/// A factor with a pivot that is not a positive number is no factor, whatever the library says.
template <class T>
struct judge_pivots {
    index_t n, leading, stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* a, int* info) const {
        if (info[i] != 0) return;
        for (index_t j = 0; j < n; ++j)
            if (!(a[i * stride + j * (leading + 1)] > 0)) {
                info[i] = static_cast<int>(j) + 1;
                return;
            }
    }
};

/// One Philox block of an item: 4 numbers, 2 in double.
template <class T, bool Normal>
struct random_body {
    random_key key;
    index_t features, stride, blocks;
    DIEM_HOST_DEVICE void operator()(index_t k, T* y) const {
        constexpr int n = uniforms_per_block<T>;
        const index_t i = k / blocks, block = k - i * blocks;
        T z[n];
        if constexpr (Normal) {
            normal_block<T>(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(block), z);
        } else {
            const philox_words words =
                random_words(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(block));
            for (int l = 0; l < n; ++l) z[l] = uniform_of_words<T>(words, l);
        }
        T* const to = y + i * stride + block * n;
        for (int l = 0; l < n && block * n + l < features; ++l) to[l] = z[l];
    }
};

}  // namespace diem::detail::cuda
