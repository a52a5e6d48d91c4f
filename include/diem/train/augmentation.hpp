// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/train/shuffle.hpp>

/// \file
/// Batches of training items taken from the data in shuffled order, images changed at random on the way.
/// \snippet tests/examples/train.cpp train/augmentation.hpp

namespace diem::train {

/// Random changes of height-width-channel images with values in [-2, 2]; all off by default. Each item of each step draws
/// its own, in the order shake, flip, hue, saturation.
struct augmentation_options {
    index_t height = 0, width = 0, channels = 0;    ///< of an item; not needed where everything is off
    double flip = 0;                                ///< probability of mirroring left and right
    double hue = 0;                                 ///< turns the hue by up to this fraction of the circle, either way
    double saturation_min = 1, saturation_max = 1;  ///< factor of the saturation
    index_t shake = 0;  ///< shifts by up to this many pixels along each axis, either way; what comes in is reflected

    [[nodiscard]] bool colour() const { return hue != 0 || saturation_min != 1 || saturation_max != 1; }
    [[nodiscard]] bool any() const { return flip != 0 || shake != 0 || colour(); }
};

/// Throws shape_error where the extents do not give `features`, value_error for values outside their range.
inline void check_augmentation(const augmentation_options& o, index_t features) {
    if (!o.any()) return;
    constexpr auto* where = "train::augmentation_options";
    check_size(where, "height * width * channels", o.height * o.width * o.channels, features);
    check_value(where, o.flip >= 0 && o.flip <= 1, "flip must lie in [0, 1]");
    check_value(where, o.hue >= 0 && o.hue <= 0.5, "hue must lie in [0, 0.5]");
    check_value(where, o.saturation_min >= 0 && o.saturation_max >= o.saturation_min && o.saturation_max < 1e6,
                "0 <= saturation_min <= saturation_max must hold");
    check_value(where, o.shake >= 0 && o.shake < std::min(o.height, o.width), "shake must be less than the image");
    check_value(where, !o.colour() || o.channels == 3, "hue and saturation need 3 channels");
}

namespace detail {

/// Hue and saturation of one pixel (HSV), written with differences so that values beyond [-2, 2] do no harm.
/// `turn` in units of the circle.
template <class T>
struct colour_change {
    T turn, saturation;

    /// Brightness profile of a pure hue h in [0, 6): 1 at distance <= 1 from the channel's own hue, 0 beyond 2.
    [[nodiscard]] static DIEM_HOST_DEVICE T profile(T h, T own) {
        using std::abs;
        T distance = abs(h - own);
        if (distance > 3) distance = 6 - distance;
        return distance <= 1 ? T(1) : distance >= 2 ? T(0) : 2 - distance;
    }
    DIEM_HOST_DEVICE void operator()(T* rgb) const {
        using std::floor;
        const T r = rgb[0], g = rgb[1], b = rgb[2];
        const T top = r > g ? (r > b ? r : b) : (g > b ? g : b);
        const T low = r < g ? (r < b ? r : b) : (g < b ? g : b);
        T range = top - low;
        if (!(range > 0)) return;  // grey has no hue, and a NaN stays one
        T h = top == r ? (g - b) / range : top == g ? 2 + (b - r) / range : 4 + (r - g) / range;
        h += 6 * turn;
        h -= 6 * floor(h / 6);
        // The saturation is range / (top + 2): at most 1, except where it was more before.
        T factor = saturation;
        const T most = top + 2 > range ? (top + 2) / range : T(1);
        if (factor > most) factor = most;
        range *= factor;
        rgb[0] = top - range * (1 - profile(h, 0));
        rgb[1] = top - range * (1 - profile(h, 2));
        rgb[2] = top - range * (1 - profile(h, 4));
    }
};

/// Index in [0, n) of position i in [-n + 1, 2 n - 2] after reflection about the border pixels (which are not repeated).
[[nodiscard]] DIEM_HOST_DEVICE inline index_t reflected(index_t i, index_t n) {
    if (i < 0) i = -i;
    return i >= n ? 2 * (n - 1) - i : i;
}

/// Item i of the batch is item `stream(first + i)` of the data, changed: one row of its image, or the item where it stays as
/// it is.
template <class T>
struct gather_item {
    item_stream stream;
    index_t first, features, data_stride, out_stride;
    augmentation_options options;
    bool change, colour;
    random_key key;

    [[nodiscard]] DIEM_HOST_DEVICE index_t rows() const { return change ? options.height : 1; }
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t k, const Team& team, const T* data, T* out) const {
        const index_t i = k / rows(), y = k - i * rows();
        const T* from = data + stream(first + i) * data_stride;
        T* to = out + i * out_stride;
        if (!change) {
            for (index_t j = team.first(); j < features; j += team.step()) to[j] = from[j];
            return;
        }
        const auto item = static_cast<std::uint32_t>(i);
        const bool mirror = bernoulli(key, item, 0, options.flip);
        const auto u = [&](std::uint32_t j) { return uniform<float>(key, item, j); };  // the same for every T
        const auto shift = [&](std::uint32_t j) {
            const auto span = static_cast<float>(2 * options.shake + 1);
            return static_cast<index_t>(u(j) * span) - options.shake;
        };
        const index_t down = shift(4), right = shift(5), channels = options.channels;
        const colour_change<T> recolour{
            static_cast<T>(options.hue * (2 * static_cast<double>(u(6)) - 1)),
            static_cast<T>(options.saturation_min +
                           (options.saturation_max - options.saturation_min) * static_cast<double>(u(7)))};
        from += reflected(y + down, options.height) * options.width * channels;
        to += y * options.width * channels;
        for (index_t x = team.first(); x < options.width; x += team.step()) {
            const index_t column = reflected((mirror ? options.width - 1 - x : x) + right, options.width);
            for (index_t c = 0; c < channels; ++c) to[x * channels + c] = from[column * channels + c];
            if (colour) recolour(to + x * channels);
        }
    }
};

}  // namespace detail

/// out = items number first .. first + out.items() - 1 of the stream over `data` (D x items), changed at random. `key` names
/// the step; its lane is set here. A batch taken in parts, with `key.skip_items`, holds the same numbers.
template <Backend B>
void gather_batch(B& backend, const_view_t<B> data, const item_stream& stream, index_t first,
                  const augmentation_options& options, const random_key& key, view_t<B> out) {
    check_size("train::gather_batch", "out.features()", out.features(), data.features());
    check_value("train::gather_batch", data.items() > 0 && stream.items == data.items(), "no data to draw from");
    check_augmentation(options, data.features());
    const detail::gather_item<scalar_t<B>> f{stream,
                                             first,
                                             data.features(),
                                             data.stride(),
                                             out.stride(),
                                             options,
                                             options.any(),
                                             options.colour(),
                                             key.with_lane(random_lane::augmentation)};
    const index_t length = data.features() / f.rows();
    launch_rows(backend, out.items() * f.rows(), length, length + 512, f, data.data(), out.data());
}

}  // namespace diem::train
