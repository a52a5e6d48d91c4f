// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include <diem/linop/image.hpp>

/// \file
/// Projections of a slice: computed tomography.
/// \snippet tests/examples/linop.cpp linop/radon.hpp

namespace diem::linop {

namespace detail {
/// Area, left of t, of a square of side 1 about 0 that is seen along a direction of |cos| a and |sin| c: the integral
/// of a box of width a folded with one of width c, which is a trapezoid.
[[nodiscard]] DIEM_HOST_DEVICE inline double shadow_left_of(double t, double a, double c) {
    const double wide = a > c ? a : c, narrow = a > c ? c : a, outer = (wide + narrow) / 2, inner = (wide - narrow) / 2;
    const double s = t < 0 ? -t : t;
    double half = 0.5;  // area between 0 and |t|
    if (s <= inner || narrow == 0)
        half = (s < outer ? s : outer) / wide;
    else if (s < outer)
        half = 0.5 - (outer - s) * (outer - s) / (2 * wide * narrow);
    return t < 0 ? 0.5 - half : 0.5 + half;
}

/// Parallel beams in one direction: what a pixel adds to a detector.
struct beams {
    double cosine, sine, reach;  ///< reach: half of the width of a pixel's shadow
    DIEM_HOST_DEVICE beams(double c, double s) : cosine(c), sine(s), reach(((c < 0 ? -c : c) + (s < 0 ? -s : s)) / 2) {}
    /// In units of detectors, detector d from d to d + 1.
    [[nodiscard]] DIEM_HOST_DEVICE double place(const image_extent& image, index_t i, index_t j,
                                                index_t detectors) const {
        const double x = static_cast<double>(j) - static_cast<double>(image.width - 1) / 2;
        const double y = static_cast<double>(image.height - 1) / 2 - static_cast<double>(i);
        return x * cosine + y * sine + static_cast<double>(detectors) / 2;
    }
    /// 0 where only rounding is left.
    [[nodiscard]] DIEM_HOST_DEVICE double weight(double place, index_t detector) const {
        const double at = static_cast<double>(detector) - place, a = cosine < 0 ? -cosine : cosine,
                     c = sine < 0 ? -sine : sine;
        const double w = shadow_left_of(at + 1, a, c) - shadow_left_of(at, a, c);
        return w > 1e-14 ? w : 0;
    }
};

/// cos and sin of each angle, which are 0 where they nearly are.
[[nodiscard]] inline std::vector<double> directions_of(const std::vector<double>& degrees) {
    std::vector<double> out;
    for (const double d : degrees) {
        const double angle = d * 3.14159265358979323846 / 180;
        for (const double v : {std::cos(angle), std::sin(angle)}) out.push_back(std::abs(v) < 1e-12 ? 0 : v);
    }
    return out;
}

/// y of one detector of one angle of an item. Index: (item, angle, detector).
struct radon_forward {
    image_extent image;
    index_t angles, detectors, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const double* directions, const T* x, T* y) const {
        const index_t d = index % detectors, ray = index / detectors, item = ray / angles, k = ray - item * angles;
        const beams seen(directions[2 * ray], directions[2 * ray + 1]);
        T* out = y + item * y_stride + (k * detectors + d) * image.channels;
        for (index_t c = 0; c < image.channels; ++c) out[c] = T(0);
        const double low = static_cast<double>(d) - seen.reach, high = static_cast<double>(d + 1) + seen.reach;
        for (index_t i = 0; i < image.height; ++i) {
            // Of the row, the pixels whose place is between low and high.
            const double first = seen.place(image, i, 0, detectors);
            index_t begin = 0, end = image.width;
            if (seen.cosine == 0) {
                if (first <= low || first >= high) continue;
            } else {
                const double u = (low - first) / seen.cosine, v = (high - first) / seen.cosine, left = u < v ? u : v,
                             right = u < v ? v : u;
                if (right <= -1 || left >= static_cast<double>(image.width)) continue;
                if (left > 0) begin = static_cast<index_t>(left);
                if (right + 2 < static_cast<double>(image.width)) end = static_cast<index_t>(right) + 2;
            }
            for (index_t j = begin; j < end; ++j) {
                const T w = static_cast<T>(seen.weight(seen.place(image, i, j, detectors), d));
                const T* in = x + item * x_stride + (i * image.width + j) * image.channels;
                for (index_t c = 0; c < image.channels; ++c) out[c] += w * in[c];
            }
        }
    }
};
/// x of one pixel of an item. Index: (item, pixel).
struct radon_backward {
    image_extent image;
    index_t angles, detectors, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const double* directions, const T* y, T* x) const {
        const index_t pixels = image.height * image.width, item = index / pixels, p = index - item * pixels;
        T* out = x + item * x_stride + p * image.channels;
        for (index_t c = 0; c < image.channels; ++c) out[c] = T(0);
        for (index_t k = 0; k < angles; ++k) {
            const double* direction = directions + 2 * (item * angles + k);
            const beams seen(direction[0], direction[1]);
            const double place = seen.place(image, p / image.width, p % image.width, detectors);
            if (place + seen.reach <= 0 || place - seen.reach >= static_cast<double>(detectors)) continue;
            const double from = place - seen.reach;
            for (index_t d = from > 0 ? static_cast<index_t>(from) : 0;
                 d < detectors && static_cast<double>(d) < place + seen.reach; ++d) {
                const T w = static_cast<T>(seen.weight(place, d));
                const T* in = y + item * y_stride + (k * detectors + d) * image.channels;
                for (index_t c = 0; c < image.channels; ++c) out[c] += w * in[c];
            }
        }
    }
};
}  // namespace detail

/// The Radon transform by parallel beams: (angles, detectors, channels) of
///     y[k, d] = area of image under the strip of detector d seen at angle k / width of the strip,
/// integrals over strips of width 1 (pixels), through an image of square pixels: exact for such images, and its adjoint
/// is the transposed matrix (a matched pair). At angle t the position of a point is x cos t + y sin t, x to the right
/// and y upwards from the centre of the image; the detectors lie symmetrically about 0. What falls beside them is lost;
/// `detectors` >= the image's diagonal loses nothing. Made on the host; about 3 entries of 16 bytes for each pixel and
/// angle.
template <Backend B>
[[nodiscard]] sparse<B> radon(B& b, const image_extent& image, const std::vector<double>& degrees, index_t detectors) {
    detail::check_image("radon", image);
    check_value("radon", detectors >= 1, "detectors is below 1");
    std::vector<sparse_entry> entries;
    std::vector<scalar_t<B>> weights;
    const auto directions = detail::directions_of(degrees);
    for (std::size_t k = 0; k < degrees.size(); ++k) {
        const detail::beams seen(directions[2 * k], directions[2 * k + 1]);
        for (index_t i = 0; i < image.height; ++i)
            for (index_t j = 0; j < image.width; ++j) {
                const double t = seen.place(image, i, j, detectors);
                for (auto d = static_cast<index_t>(std::floor(t - seen.reach)); static_cast<double>(d) < t + seen.reach;
                     ++d) {
                    if (d < 0 || d >= detectors) continue;
                    const double w = seen.weight(t, d);
                    if (w == 0) continue;
                    entries.push_back({static_cast<index_t>(k) * detectors + d, i * image.width + j,
                                       static_cast<index_t>(weights.size())});
                    weights.push_back(static_cast<scalar_t<B>>(w));
                }
            }
    }
    auto places = std::make_shared<const typename sparse<B>::pattern>(
        b, static_cast<index_t>(degrees.size()) * detectors, image.pixels(), entries);
    const auto count = static_cast<index_t>(weights.size());
    return sparse<B>::shared(std::move(places), to_backend(b, weights, count, 1), 1, image.channels);
}

/// `radon` with angles of its own for each item, the same number of them: the same numbers, without a stored matrix. A
/// product computes its weights as it goes, which takes more time than those of `radon`.
template <Backend B>
class radon_per_item {
public:
    using operator_tag = linear_tag;
    /// degrees: `angles` of the first item, then those of the next one. Throws shape_error, value_error.
    radon_per_item(B& b, const image_extent& image, const std::vector<double>& degrees, index_t angles,
                   index_t detectors)
        : image_(image), angles_(angles), detectors_(detectors) {
        detail::check_image("radon_per_item", image);
        check_value("radon_per_item", angles >= 1 && detectors >= 1, "angles or detectors is below 1");
        count_ = static_cast<index_t>(degrees.size()) / angles;
        check_size("radon_per_item", "degrees.size()", static_cast<index_t>(degrees.size()), angles * count_);
        directions_ =
            std::make_shared<const batch<B, double>>(to_backend(b, detail::directions_of(degrees), 2 * angles, count_));
    }

    [[nodiscard]] index_t rows() const { return angles_ * detectors_ * image_.channels; }
    [[nodiscard]] index_t cols() const { return image_.size(); }
    [[nodiscard]] index_t items() const { return count_; }
    [[nodiscard]] radon_per_item items(index_t first, index_t count) const {
        check_slice("radon_per_item", count_, first, count);
        radon_per_item part(*this);
        part.first_ += first;
        part.count_ = count;
        return part;
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("radon_per_item", *this, x, y);
        b.launch(count_ * angles_ * detectors_, 64 * (image_.height + image_.width),
                 detail::radon_forward{image_, angles_, detectors_, x.stride(), y.stride()}, directions(), x.data(),
                 y.data());
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("radon_per_item (adjoint)", *this, y, x);
        b.launch(count_ * image_.pixels(), 64 * angles_,
                 detail::radon_backward{image_, angles_, detectors_, x.stride(), y.stride()}, directions(), y.data(),
                 x.data());
    }

private:
    [[nodiscard]] auto directions() const { return directions_->view().item_range(first_, count_).data(); }

    image_extent image_;
    index_t angles_, detectors_, first_ = 0, count_ = 0;
    std::shared_ptr<const batch<B, double>> directions_;
};

}  // namespace diem::linop
