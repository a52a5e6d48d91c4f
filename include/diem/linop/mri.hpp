// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <diem/linop/fourier.hpp>
#include <diem/linop/pixel_runs.hpp>

/// \file
/// Magnetic resonance imaging: the Fourier transform of an image, known at some frequencies. Images and k-space are centred
/// (see linop/fourier.hpp), row by row, complex numbers as (re, im).
/// \snippet tests/examples/linop.cpp linop/mri.hpp

namespace diem::linop {

/// Numbers that are the same for all items, or different for each.
template <Backend B>
class common_or_each {
public:
    /// values: n numbers, a vector or a batch of one item.
    [[nodiscard]] static common_or_each shared(item_data<B> values) {
        check_size("common_or_each::shared", "items of the values", values.items(), 1);
        return common_or_each(std::move(values), true);
    }
    /// values: n x items.
    [[nodiscard]] static common_or_each per_item(item_data<B> values) {
        return common_or_each(std::move(values), false);
    }
    [[nodiscard]] index_t features() const { return values_.features(); }
    [[nodiscard]] index_t items() const { return shared_ ? any_items : values_.items(); }
    [[nodiscard]] auto data() const { return values_.view().data(); }
    /// Distance of the items in memory; 0: they are one.
    [[nodiscard]] index_t step() const { return shared_ ? 0 : values_.view().stride(); }
    [[nodiscard]] common_or_each items(index_t first, index_t count) const {
        return shared_ ? *this : common_or_each(values_.items(first, count), false);
    }
    /// See `check_entries`.
    template <class Good>
    void check(std::string_view where, B& b, std::string_view what) const {
        check_entries<Good>(where, b, what, values_.view());
    }

private:
    common_or_each(item_data<B> values, bool is_shared) : values_(std::move(values)), shared_(is_shared) {}
    item_data<B> values_;
    bool shared_;
};

namespace detail {

/// y = x + 0 i
struct as_complex {
    pixel_runs runs;
    index_t x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const auto r = runs(i);
        const T* const from = x + r.item * x_stride + r.first;
        T* const to = y + r.item * y_stride + 2 * r.first;
        for (index_t k = 0; k < runs.length; ++k) {
            to[2 * k] = from[k];
            to[2 * k + 1] = 0;
        }
    }
};
/// x = Re y
struct real_part {
    pixel_runs runs;
    index_t y_stride, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* y, T* x) const {
        const auto r = runs(i);
        const T* const from = y + r.item * y_stride + 2 * r.first;
        T* const to = x + r.item * x_stride + r.first;
        for (index_t k = 0; k < runs.length; ++k) to[k] = from[2 * k];
    }
};
/// y = m y, or z = m y, with one number m for each frequency or for each column of frequencies.
struct sample_frequencies {
    pixel_runs runs;
    bool columns;
    index_t m_step, y_stride, z_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* m, T* y) const {
        const auto r = runs(i);
        const T* const mask = m + r.item * m_step + (columns ? r.column : r.first);
        T* const at = y + r.item * y_stride + 2 * (r.image * runs.height * runs.width + r.first);
        for (index_t k = 0; k < runs.length; ++k) {
            at[2 * k] *= mask[k];
            at[2 * k + 1] *= mask[k];
        }
    }
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* m, const T* y, T* z) const {
        const auto r = runs(i);
        const index_t at = 2 * (r.image * runs.height * runs.width + r.first);
        const T* const mask = m + r.item * m_step + (columns ? r.column : r.first);
        const T* const from = y + r.item * y_stride + at;
        T* const to = z + r.item * z_stride + at;
        for (index_t k = 0; k < runs.length; ++k) {
            to[2 * k] = mask[k] * from[2 * k];
            to[2 * k + 1] = mask[k] * from[2 * k + 1];
        }
    }
};
/// y_c = S_c x
struct weigh_by_coils {
    pixel_runs runs;
    index_t s_step, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* s, const T* x, T* y) const {
        const auto r = runs(i);
        const index_t at = 2 * (r.image * runs.height * runs.width + r.first);
        const T *const coil = s + r.item * s_step + at, *const from = x + r.item * x_stride + 2 * r.first;
        T* const to = y + r.item * y_stride + at;
        for (index_t k = 0; k < 2 * runs.length; k += 2) {
            to[k] = coil[k] * from[k] - coil[k + 1] * from[k + 1];
            to[k + 1] = coil[k] * from[k + 1] + coil[k + 1] * from[k];
        }
    }
};
/// x = sum over c of conj(S_c) y_c; `runs` has one image.
struct join_coils {
    pixel_runs runs;
    index_t coils, s_step, y_stride, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* s, const T* y, T* x) const {
        const auto r = runs(i);
        T* const to = x + r.item * x_stride + 2 * r.first;
        for (index_t k = 0; k < 2 * runs.length; ++k) to[k] = 0;
        for (index_t c = 0; c < coils; ++c) {
            const index_t at = 2 * (c * runs.height * runs.width + r.first);
            const T *const coil = s + r.item * s_step + at, *const from = y + r.item * y_stride + at;
            for (index_t k = 0; k < 2 * runs.length; k += 2) {
                to[k] += coil[k] * from[k] + coil[k + 1] * from[k + 1];
                to[k + 1] += coil[k] * from[k + 1] - coil[k + 1] * from[k];
            }
        }
    }
};

/// The frequencies that are known: of a height x width image, `count` images an item.
template <Backend B>
class kspace_mask {
public:
    kspace_mask(std::string_view where, B& b, index_t height, index_t width, common_or_each<B> values)
        : height_(height), width_(width), values_(std::move(values)) {
        const index_t pixels = pixels_of(where, height, width), n = values_.features();
        if (n != width && n != pixels)
            throw shape_error(std::string(where) + ": the mask has " + std::to_string(n) + " numbers, expected " +
                              std::to_string(width) + " (one a column) or " + std::to_string(pixels) + " (" +
                              std::to_string(height) + " x " + std::to_string(width) + ")");
        values_.template check<zero_or_one_entry>(where, b, "mask");
    }
    [[nodiscard]] index_t height() const { return height_; }
    [[nodiscard]] index_t width() const { return width_; }
    [[nodiscard]] index_t items() const { return values_.items(); }
    [[nodiscard]] kspace_mask items(index_t first, index_t count) const {
        kspace_mask part(*this);
        part.values_ = values_.items(first, count);
        return part;
    }
    /// y = mask F y on `images` images an item.
    void transform(B& b, index_t images, view_t<B> y) const {
        b.fft2(fft_direction::forward, height_, width_, y, y);
        sample(b, images, y);
    }
    /// y = F^H mask F y, in one transform and its inverse. Where the mask is of columns those along the columns cancel: only the
    /// rows are transformed.
    void normal(B& b, index_t images, view_t<B> y) const {
        const index_t height = columns() ? 1 : height_;
        b.fft2(fft_direction::forward, height, width_, y, y);
        sample(b, images, y);
        b.fft2(fft_direction::inverse, height, width_, y, y);
    }
    /// z = F^H mask y
    void transform_back(B& b, index_t images, const_view_t<B> y, view_t<B> z) const {
        const auto runs = runs_of<B>(height_, width_, images);
        b.launch(runs.count(y.items()), 2 * runs.length,
                 sample_frequencies{runs, columns(), values_.step(), y.stride(), z.stride()}, values_.data(), y.data(),
                 z.data());
        b.fft2(fft_direction::inverse, height_, width_, z, z);
    }

private:
    [[nodiscard]] bool columns() const { return values_.features() == width_; }
    void sample(B& b, index_t images, view_t<B> y) const {
        const auto runs = runs_of<B>(height_, width_, images);
        b.launch(runs.count(y.items()), 2 * runs.length,
                 sample_frequencies{runs, columns(), values_.step(), y.stride(), 0}, values_.data(), y.data());
    }
    index_t height_, width_;
    common_or_each<B> values_;
};

}  // namespace detail

/// One coil and a real image: y = mask F x, x: (height, width), y: (height, width, 2) as (re, im); the adjoint is
/// x = Re F^H mask y. The mask has one number, 0 or 1, for each column of k-space (width numbers) or for each frequency
/// (height x width). Masking is a product: y must be finite also where it is hidden.
/// Throws shape_error where the mask has another size; value_error where a side is below 1, or the mask is not of 0 and 1.
template <Backend B>
class mri {
public:
    using operator_tag = linear_tag;
    mri(B& b, index_t height, index_t width, common_or_each<B> mask)
        : mask_("mri", b, height, width, std::move(mask)), pixels_(height * width) {}

    [[nodiscard]] index_t rows() const { return 2 * pixels_; }
    [[nodiscard]] index_t cols() const { return pixels_; }
    [[nodiscard]] index_t items() const { return mask_.items(); }
    [[nodiscard]] mri items(index_t first, index_t count) const {
        check_slice("mri", items(), first, count);
        mri part(*this);
        part.mask_ = mask_.items(first, count);
        return part;
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("mri", *this, x, y);
        spread(b, x, y);
        mask_.transform(b, 1, y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("mri (adjoint)", *this, y, x);
        batch<B> z(b, rows(), y.items());
        mask_.transform_back(b, 1, y, z.view());
        gather(b, z.cview(), x);
    }
    /// y = A'A x, see `normal`.
    void apply_normal(B& b, const_view_t<B> x, view_t<B> y) const {
        check_normal("mri (normal)", *this, x, y);
        batch<B> z(b, rows(), x.items());
        spread(b, x, z.view());
        mask_.normal(b, 1, z.view());
        gather(b, z.cview(), y);
    }

private:
    void spread(B& b, const_view_t<B> x, view_t<B> y) const {
        const auto runs = detail::runs_of<B>(mask_.height(), mask_.width(), 1);
        b.launch(runs.count(x.items()), 2 * runs.length, detail::as_complex{runs, x.stride(), y.stride()}, x.data(),
                 y.data());
    }
    void gather(B& b, const_view_t<B> y, view_t<B> x) const {
        const auto runs = detail::runs_of<B>(mask_.height(), mask_.width(), 1);
        b.launch(runs.count(x.items()), 2 * runs.length, detail::real_part{runs, y.stride(), x.stride()}, y.data(),
                 x.data());
    }

    detail::kspace_mask<B> mask_;
    index_t pixels_;
};

/// Several coils and a complex image (SENSE): y_c = mask F S_c x for each coil c, x: (height, width, 2), y: (coils, height,
/// width, 2), both as (re, im); the adjoint is x = sum over c of conj(S_c) F^H mask y_c. `coils` holds the sensitivities S_c as
/// (coils, height, width, 2), for all items or for each; so does `mask`, see `mri`.
/// K. Pruessmann et al., SENSE: sensitivity encoding for fast MRI, 1999.
/// Throws shape_error where mask or coils have another size or not as many items; value_error where a side is below 1, the mask is
/// not of 0 and 1, or a sensitivity is not finite.
template <Backend B>
class sense {
public:
    using operator_tag = linear_tag;
    sense(B& b, index_t height, index_t width, common_or_each<B> mask, common_or_each<B> coils)
        : mask_("sense", b, height, width, std::move(mask)), maps_(std::move(coils)), size_(2 * height * width),
          coils_(maps_.features() / size_),
          items_(joint_items("sense (mask, then coils)", mask_.items(), maps_.items())) {
        if (coils_ < 1 || maps_.features() != coils_ * size_)
            throw shape_error("sense: the coils have " + std::to_string(maps_.features()) +
                              " numbers, expected a multiple of " + std::to_string(size_) + " (2 x " +
                              std::to_string(height) + " x " + std::to_string(width) + ")");
        maps_.template check<finite_entry>("sense", b, "coils");
    }

    [[nodiscard]] index_t coils() const { return coils_; }
    [[nodiscard]] index_t rows() const { return coils_ * size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] sense items(index_t first, index_t count) const {
        check_slice("sense", items(), first, count);
        sense part(*this);
        part.mask_ = mask_.items(first, count);
        part.maps_ = maps_.items(first, count);
        part.items_ = items_ < 0 ? items_ : count;
        return part;
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("sense", *this, x, y);
        weigh(b, x, y);
        mask_.transform(b, coils_, y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("sense (adjoint)", *this, y, x);
        batch<B> z(b, rows(), y.items());
        mask_.transform_back(b, coils_, y, z.view());
        join(b, z.cview(), x);
    }
    /// y = A'A x, see `normal`.
    void apply_normal(B& b, const_view_t<B> x, view_t<B> y) const {
        check_normal("sense (normal)", *this, x, y);
        batch<B> z(b, rows(), x.items());
        weigh(b, x, z.view());
        mask_.normal(b, coils_, z.view());
        join(b, z.cview(), y);
    }

private:
    /// y_c = S_c x
    void weigh(B& b, const_view_t<B> x, view_t<B> y) const {
        const auto runs = detail::runs_of<B>(mask_.height(), mask_.width(), coils_);
        b.launch(runs.count(x.items()), 2 * runs.length,
                 detail::weigh_by_coils{runs, maps_.step(), x.stride(), y.stride()}, maps_.data(), x.data(), y.data());
    }
    /// x = sum over c of conj(S_c) y_c
    void join(B& b, const_view_t<B> y, view_t<B> x) const {
        const auto runs = detail::runs_of<B>(mask_.height(), mask_.width(), 1);
        b.launch(runs.count(x.items()), 2 * coils_ * runs.length,
                 detail::join_coils{runs, coils_, maps_.step(), y.stride(), x.stride()}, maps_.data(), y.data(),
                 x.data());
    }

    detail::kspace_mask<B> mask_;
    common_or_each<B> maps_;
    index_t size_, coils_, items_;
};

}  // namespace diem::linop
