// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/io/array.hpp>

/// Complex patches as a scanner would see them, from magnitude pictures of slices.
namespace measured {

using diem::index_t;

/// Pictures (n, height, width) and how finely a patch samples them.
struct slice_source {
    diem::io::array<std::uint8_t> slices;
    double least_step = 1, most_step = 1;  ///< pixels of the picture per pixel of the patch
    double share = 1;                      ///< of the patches, relative to the other sources
};

/// Patches (size, size, 2) as (re, im), m exp(i phi). m: a picture turned, mirrored, rescaled and cut, values to a random power, with a smooth shading;
/// its 99 % quantile becomes 2 times a random factor. phi: a random polynomial of second degree, and a random multiple of
/// m, for fat and water differ in phase.
struct slice_patches {
    std::vector<slice_source> sources;
    diem::io::array<float> images{};  ///< complex (n, height, width, 2), in the prior's units
    double image_share = 0;           ///< of the patches that are cut from `images`
    double texture = 0;               ///< standard deviation of white noise added to a patch, at most
    index_t size = 64;

    /// Patch number `item` of the key.
    void draw(const diem::random_key& key, std::uint32_t item, float* out) const {
        std::uint32_t next = 0;
        const auto uniform = [&](double low, double high) {
            return low + (high - low) * diem::uniform<double>(key, item, next++);
        };
        if (uniform(0, 1) < image_share) return cut(key, item, out);
        const slice_source& source = pick(uniform(0, 1));
        const auto& shape = source.slices.shape;
        const index_t height = shape[1], width = shape[2];
        std::vector<double> m(static_cast<std::size_t>(size * size));
        double top = 1;
        for (int attempt = 0; attempt < 8; ++attempt) {
            const auto slice = std::min(shape[0] - 1, static_cast<index_t>(uniform(0, static_cast<double>(shape[0]))));
            const std::uint8_t* from = source.slices.data.data() + slice * height * width;
            top = quantile(from, height * width);
            const double step = std::exp(uniform(std::log(source.least_step), std::log(source.most_step)));
            const double angle = uniform(-0.5, 0.5), mirror_x = uniform(0, 1) < 0.5 ? -1 : 1,
                         mirror_y = uniform(0, 1) < 0.5 ? -1 : 1;
            const double cy = uniform(0, static_cast<double>(height)), cx = uniform(0, static_cast<double>(width));
            const double c = std::cos(angle) * step, s = std::sin(angle) * step;
            const int fine = step > 1.05 ? 2 : 1;
            double sum = 0;
            for (index_t y = 0; y < size; ++y)
                for (index_t x = 0; x < size; ++x) {
                    double value = 0;
                    for (int a = 0; a < fine; ++a)
                        for (int b = 0; b < fine; ++b) {
                            const double v = mirror_y * (y - size / 2.0 + (a + 0.5) / fine),
                                         u = mirror_x * (x - size / 2.0 + (b + 0.5) / fine);
                            value += at(from, height, width, cy + c * v + s * u, cx - s * v + c * u);
                        }
                    m[static_cast<std::size_t>(y * size + x)] = value / (fine * fine);
                    sum += value / (fine * fine);
                }
            if (sum > 0.1 * top * static_cast<double>(size * size) || uniform(0, 1) < 0.1)
                break;  // mostly inside the head
        }
        const double power = std::exp(uniform(-0.5, 0.4)), scale = 2 * uniform(0.5, 1.5), by_value = uniform(-0.5, 0.5);
        std::array<double, 6> phase{}, shade{};
        for (double& p : phase) p = uniform(-1.7, 1.7);
        phase[0] = uniform(0, 2 * std::numbers::pi);
        for (double& p : shade) p = uniform(-0.3, 0.3);
        for (index_t y = 0; y < size; ++y)
            for (index_t x = 0; x < size; ++x) {
                const double v = 2 * (y + 0.5) / static_cast<double>(size) - 1,
                             u = 2 * (x + 0.5) / static_cast<double>(size) - 1;
                const auto polynomial = [&](const std::array<double, 6>& p, double second) {
                    return p[0] + p[1] * v + p[2] * u + second * (p[3] * v * v + p[4] * u * v + p[5] * u * u);
                };
                const double value = std::pow(m[static_cast<std::size_t>(y * size + x)] / top, power);
                const double r = scale * value * std::exp(polynomial(shade, 0.5));
                const double phi = polynomial(phase, 0.25) + by_value * value;
                *out++ = static_cast<float>(r * std::cos(phi));
                *out++ = static_cast<float>(r * std::sin(phi));
            }
        const auto rough = static_cast<float>(texture * uniform(0, 1));
        for (std::uint32_t k = 0; texture > 0 && k < 2 * size * size; ++k)
            *(out - 1 - k) += rough * diem::normal<float>(key.with_lane(key.lane + 1), item, k);
    }

private:
    /// A piece of one of the images, mirrored, its phase turned.
    void cut(const diem::random_key& key, std::uint32_t item, float* out) const {
        const auto uniform = [&](std::uint32_t j) { return diem::uniform<double>(key, item, 8 + j); };
        const index_t n = images.shape[0], height = images.shape[1], width = images.shape[2];
        const auto below = [](double u, index_t count) {
            return std::min(count - 1, static_cast<index_t>(u * static_cast<double>(count)));
        };
        const float* from = images.data.data() + below(uniform(0), n) * height * width * 2;
        const index_t top = below(uniform(1), height - size + 1), left = below(uniform(2), width - size + 1);
        const bool flip_y = uniform(3) < 0.5, flip_x = uniform(4) < 0.5;
        const double turn = 2 * std::numbers::pi * uniform(5), sign = uniform(6) < 0.5 ? -1 : 1,
                     scale = std::exp(0.4 * uniform(7) - 0.2);
        const double c = scale * std::cos(turn), s = scale * std::sin(turn);
        for (index_t y = 0; y < size; ++y)
            for (index_t x = 0; x < size; ++x) {
                const float* v =
                    from + 2 * ((top + (flip_y ? size - 1 - y : y)) * width + left + (flip_x ? size - 1 - x : x));
                *out++ = static_cast<float>(c * v[0] - s * sign * v[1]);
                *out++ = static_cast<float>(s * v[0] + c * sign * v[1]);
            }
    }
    [[nodiscard]] const slice_source& pick(double u) const {
        double all = 0;
        for (const auto& s : sources) all += s.share;
        for (const auto& s : sources) {
            u -= s.share / all;
            if (u < 0) return s;
        }
        return sources.back();
    }
    /// Bilinear; zero outside.
    [[nodiscard]] static double at(const std::uint8_t* picture, index_t height, index_t width, double y, double x) {
        const double top = std::floor(y - 0.5), left = std::floor(x - 0.5);
        const double b = y - 0.5 - top, a = x - 0.5 - left;
        const auto pixel = [&](double row, double column) -> double {
            if (row < 0 || column < 0 || row >= static_cast<double>(height) || column >= static_cast<double>(width))
                return 0;
            return picture[static_cast<index_t>(row) * width + static_cast<index_t>(column)];
        };
        return (1 - b) * ((1 - a) * pixel(top, left) + a * pixel(top, left + 1)) +
               b * ((1 - a) * pixel(top + 1, left) + a * pixel(top + 1, left + 1));
    }
    /// The 99 % quantile, at least 1.
    [[nodiscard]] static double quantile(const std::uint8_t* values, index_t count) {
        std::array<index_t, 256> seen{};
        for (index_t k = 0; k < count; ++k) ++seen[values[k]];
        index_t above = 0;
        for (int v = 255; v > 1; --v)
            if ((above += seen[static_cast<std::size_t>(v)]) * 100 > count) return v;
        return 1;
    }
};

}  // namespace measured
