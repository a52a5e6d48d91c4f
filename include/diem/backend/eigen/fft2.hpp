// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>

#include <diem/backend/eigen/fft.hpp>
#include <diem/backend/eigen/simd_level.hpp>

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Plans of the lengths seen so far. Safe to use from several threads.
template <class T>
class fft_plans {
public:
    [[nodiscard]] const fft_plan<T>& of(index_t n) {
        const std::lock_guard lock(mutex_);
        auto& plan = plans_[n];
        if (!plan) plan = std::make_unique<const fft_plan<T>>(n);
        return *plan;
    }

private:
    std::mutex mutex_;
    std::map<index_t, std::unique_ptr<const fft_plan<T>>> plans_;
};

/// The centred orthonormal transform of complex images: blocks of rows into a middle array, then blocks of columns out of it.
/// The shifts that centre it are in the addresses of loads and stores; the inverse is the forward transform with real and
/// imaginary parts exchanged at both ends. The middle array holds blocks of columns, in each the rows in the order in which
/// their transform wants them, of a row `lanes` real and `lanes` imaginary parts. Lanes outside an image are zero.
/// With `rows_alone` the columns are left as they are: images of one row each, seen as one image.
template <class T>
class fft2_passes {
public:
    fft2_passes(fft_plans<T>& plans, fft_direction direction, index_t height, index_t width, bool rows_alone)
        : along_(plans.of(width)), down_(plans.of(rows_alone ? 1 : height)), height_(height), width_(width),
          re_(direction == fft_direction::forward ? 0 : lanes), im_(lanes - re_), rows_alone_(rows_alone),
          scale_(static_cast<T>(
              1 / std::sqrt(static_cast<double>(rows_alone ? 1 : height) * static_cast<double>(width)))) {}

    [[nodiscard]] index_t row_blocks() const { return (height_ + lanes - 1) / lanes; }
    [[nodiscard]] index_t column_blocks() const { return (width_ + lanes - 1) / lanes; }
    /// Elements of the middle array of an image, and of the memory that a thread works in.
    [[nodiscard]] index_t middle_size() const { return column_blocks() * height_ * 2 * lanes; }
    [[nodiscard]] index_t work_size() const { return 2 * longest() + std::max(along_.scratch(), down_.scratch()); }

    /// Blocks first .. last - 1 of the rows of an image x to the middle array.
    void rows(const T* x, T* middle, T* work, index_t first, index_t last) const {
        T *const a = work, *const b = a + longest(), *const scratch = b + longest();
        for (index_t block = first; block < last; ++block) {
            const index_t row = block * lanes, count = std::min(lanes, height_ - row);
            load_rows(x + 2 * row * width_, count, b);
            store_rows(along_.run(b, a, b, scratch), row, count, middle);
        }
    }
    /// Blocks first .. last - 1 of the columns out of the middle array to an image y.
    void columns(const T* middle, T* y, T* work, index_t first, index_t last) const {
        T *const a = work, *const b = a + longest(), *const scratch = b + longest();
        for (index_t block = first; block < last; ++block) {
            const T* const from = middle + block * height_ * 2 * lanes;
            store_columns(rows_alone_ ? from : down_.run(from, a, b, scratch), block, y);
        }
    }

private:
    using packet = fft_packet<T>;
    static constexpr index_t lanes = fft_lanes<T>;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
    using square = Eigen::internal::PacketBlock<packet, static_cast<int>(lanes)>;
#pragma GCC diagnostic pop

    [[nodiscard]] index_t longest() const { return std::max(along_.elements(), down_.elements()); }
    /// Where the transform has what the centred order has at k, and the other way round: both of 0 .. n - 1.
    [[nodiscard]] static index_t from_centred(index_t k, index_t n) { return k < n / 2 ? k + n - n / 2 : k - n / 2; }
    [[nodiscard]] static index_t to_centred(index_t k, index_t n) { return k < n - n / 2 ? k + n / 2 : k + n / 2 - n; }

    void load_rows(const T* x, index_t count, T* to) const {
        index_t column = 0;
        if constexpr (lanes > 1)  // a square of interleaved numbers, transposed, is rows of real and of imaginary parts
            for (; count == lanes && column + lanes / 2 <= width_; column += lanes / 2) {
                square s;
                for (index_t r = 0; r < lanes; ++r)
                    s.packet[r] = Eigen::internal::ploadu<packet>(x + 2 * (r * width_ + column));
                Eigen::internal::ptranspose(s);
                for (index_t k = 0; k < lanes / 2; ++k) {
                    T* const p = to + 2 * lanes * from_centred(column + k, width_);
                    Eigen::internal::pstore(p + re_, s.packet[2 * k]);
                    Eigen::internal::pstore(p + im_, s.packet[2 * k + 1]);
                }
            }
        for (; column < width_; ++column) {
            T* const p = to + 2 * lanes * from_centred(column, width_);
            for (index_t r = 0; r < lanes; ++r) {
                p[re_ + r] = r < count ? x[2 * (r * width_ + column)] : T(0);
                p[im_ + r] = r < count ? x[2 * (r * width_ + column) + 1] : T(0);
            }
        }
    }
    void store_rows(const T* from, index_t row, index_t count, T* middle) const {
        for (index_t block = 0; block < column_blocks(); ++block)
            for (const index_t part : {index_t{0}, lanes}) {
                square s;
                for (index_t k = 0; k < lanes; ++k) {
                    const index_t column = block * lanes + k;
                    s.packet[k] =
                        column < width_
                            ? Eigen::internal::pload<packet>(from + 2 * lanes * from_centred(column, width_) + part)
                            : Eigen::internal::pset1<packet>(T(0));
                }
                Eigen::internal::ptranspose(s);
                for (index_t r = 0; r < count; ++r)
                    Eigen::internal::pstore(
                        middle + 2 * lanes * (block * height_ + from_centred(row + r, height_)) + part, s.packet[r]);
            }
    }
    void store_columns(const T* from, index_t block, T* y) const {
        const index_t count = std::min(lanes, width_ - block * lanes);
        const T scale = scale_;
        for (index_t k = 0; k < height_; ++k) {
            const T* __restrict re = from + 2 * lanes * k + re_;
            const T* __restrict im = from + 2 * lanes * k + im_;
            T* __restrict to = y + 2 * (to_centred(k, height_) * width_ + block * lanes);
            if (count == lanes)
                for (index_t l = 0; l < lanes; ++l) {
                    to[2 * l] = scale * re[l];
                    to[2 * l + 1] = scale * im[l];
                }
            else
                for (index_t l = 0; l < count; ++l) {
                    to[2 * l] = scale * re[l];
                    to[2 * l + 1] = scale * im[l];
                }
        }
    }

    const fft_plan<T>&along_, &down_;
    index_t height_, width_, re_, im_;
    bool rows_alone_;
    T scale_;
};

/// Every image of a batch: one after the other on each thread, or, where there are fewer of them than threads, each on all
/// threads.
template <class B, class T>
void fft2_images(B& b, const fft2_passes<T>& passes, index_t height, index_t width, const batch_view<const T*>& x,
                 const batch_view<T*>& y) {
    const index_t size = 2 * height * width, each = x.features() / size, images = each * x.items();
    const auto from = [&](index_t k) { return x.data() + (k / each) * x.stride() + (k % each) * size; };
    const auto to = [&](index_t k) { return y.data() + (k / each) * y.stride() + (k % each) * size; };
    const index_t whole = images - images % b.threads();
    b.parallel(whole, 8 * size, [&](index_t first, index_t last) {
        const auto middle = b.template allocate<T>(passes.middle_size());
        const auto work = b.template allocate<T>(passes.work_size());
        for (index_t k = first; k < last; ++k) {
            passes.rows(from(k), middle.data(), work.data(), 0, passes.row_blocks());
            passes.columns(middle.data(), to(k), work.data(), 0, passes.column_blocks());
        }
    });
    if (whole == images) return;
    const auto middle = b.template allocate<T>(passes.middle_size());
    const auto in_parts = [&](index_t blocks, const auto& f) {
        b.parallel(blocks, 4 * size / blocks, [&](index_t first, index_t last) {
            const auto work = b.template allocate<T>(passes.work_size());
            f(work.data(), first, last);
        });
    };
    for (index_t k = whole; k < images; ++k) {
        in_parts(passes.row_blocks(),
                 [&](T* work, index_t first, index_t last) { passes.rows(from(k), middle.data(), work, first, last); });
        in_parts(passes.column_blocks(), [&](T* work, index_t first, index_t last) {
            passes.columns(middle.data(), to(k), work, first, last);
        });
    }
}

/// The transform of every image of a batch. x and y may be the same memory.
template <class B, class T>
void fft2(B& b, fft_plans<T>& plans, fft_direction direction, index_t height, index_t width,
          const batch_view<const T*>& x, const batch_view<T*>& y) {
    if (x.empty()) return;
    const index_t each = x.features() / (2 * height * width);
    if (height > 1 || each == 1)
        return fft2_images(b, fft2_passes<T>(plans, direction, height, width, false), height, width, x, y);
    // Images of a row fill one lane each: as many side by side as there are lanes, and the middle array in the cache.
    constexpr index_t most = 32;
    const index_t tall = std::min(each, most), bulk = each - each % tall;
    const auto part = [&](index_t first, index_t rows, index_t count) {
        fft2_images(b, fft2_passes<T>(plans, direction, rows, width, true), rows, width,
                    x.feature_range(2 * width * first, 2 * width * count),
                    y.feature_range(2 * width * first, 2 * width * count));
    };
    part(0, tall, bulk);
    if (bulk < each) part(bulk, each - bulk, each - bulk);
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
