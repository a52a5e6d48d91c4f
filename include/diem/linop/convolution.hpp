// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <diem/linop/image.hpp>

/// \file
/// Blurs: convolution of images with kernels, and the usual kernels.
/// \snippet tests/examples/linop.cpp linop/convolution.hpp

namespace diem::linop {

namespace detail {

/// Channels in pairs as real and imaginary parts of planes, zero where there is none. Index: item * planes + plane.
struct to_planes {
    index_t pixels, channels, planes, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* x, T* z) const {
        const index_t item = index / planes, c = 2 * (index - item * planes);
        const T* in = x + item * x_stride + c;
        T* out = z + index * pixels * 2;
        const bool second = c + 1 < channels;
        for (index_t p = 0; p < pixels; ++p) {
            out[2 * p] = in[p * channels];
            out[2 * p + 1] = second ? in[p * channels + 1] : T(0);
        }
    }
};
struct from_planes {
    index_t pixels, channels, planes, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* z, T* y) const {
        const index_t item = index / planes, c = 2 * (index - item * planes);
        const T* in = z + index * pixels * 2;
        T* out = y + item * y_stride + c;
        const bool second = c + 1 < channels;
        for (index_t p = 0; p < pixels; ++p) {
            out[p * channels] = in[2 * p];
            if (second) out[p * channels + 1] = in[2 * p + 1];
        }
    }
};
/// z *= t, or its conjugate.
struct times_transfer {
    index_t pixels, planes, t_stride;
    bool conjugate;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* t, T* z) const {
        const T* by = t + index / planes * t_stride;
        T* out = z + index * pixels * 2;
        for (index_t p = 0; p < pixels; ++p) {
            const T re = out[2 * p], im = out[2 * p + 1], a = by[2 * p], c = conjugate ? -by[2 * p + 1] : by[2 * p + 1];
            out[2 * p] = a * re - c * im;
            out[2 * p + 1] = a * im + c * re;
        }
    }
};

/// Circular convolution by `fft2`: one kernel for all items or one for each, real, its transform kept.
template <Backend B>
class circular_convolution {
public:
    using operator_tag = linear_tag;
    /// kernels: (height, width) each, one after another; the origin is at (height / 2, width / 2).
    circular_convolution(B& b, const image_extent& image, const std::vector<scalar_t<B>>& kernels, index_t height,
                         index_t width, bool is_shared)
        : image_(image), shared_(is_shared) {
        using T = scalar_t<B>;
        const auto n = static_cast<index_t>(kernels.size()) / (height * width);
        std::vector<T> placed(static_cast<std::size_t>(2 * image.pixels() * n), T(0));
        const T scale = static_cast<T>(std::sqrt(static_cast<double>(image.pixels())));  // fft2 is orthonormal
        for (index_t k = 0; k < n; ++k)
            for (index_t u = 0; u < height; ++u)
                for (index_t v = 0; v < width; ++v) {
                    const index_t row = at_border(image.height / 2 + u - height / 2, image.height, border::circular);
                    const index_t col = at_border(image.width / 2 + v - width / 2, image.width, border::circular);
                    placed[static_cast<std::size_t>(2 * (k * image.pixels() + row * image.width + col))] +=
                        scale * kernels[static_cast<std::size_t>((k * height + u) * width + v)];
                }
        batch<B> transfer = to_backend(b, placed, 2 * image.pixels(), n);
        b.fft2(fft_direction::forward, image.height, image.width, transfer.cview(), transfer.view());
        transfer_ = item_data<B>(std::move(transfer));
    }

    [[nodiscard]] index_t rows() const { return image_.size(); }
    [[nodiscard]] index_t cols() const { return image_.size(); }
    [[nodiscard]] index_t items() const { return shared_ ? any_items : transfer_.items(); }
    [[nodiscard]] circular_convolution items(index_t first, index_t count) const {
        check_slice("convolution", items(), first, count);
        circular_convolution part(*this);
        if (!shared_) part.transfer_ = transfer_.items(first, count);
        return part;
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("convolution", *this, x, y);
        run(b, x, y, false);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("convolution (adjoint)", *this, y, x);
        run(b, y, x, true);
    }

private:
    void run(B& b, const_view_t<B> in, view_t<B> out, bool conjugate) const {
        if (out.empty()) return;
        const index_t pixels = image_.pixels(), planes = (image_.channels + 1) / 2, n = in.items();
        batch<B> z(b, 2 * pixels * planes, n);
        b.launch(n * planes, 4 * pixels, to_planes{pixels, image_.channels, planes, in.stride()}, in.data(),
                 z.view().data());
        b.fft2(fft_direction::forward, image_.height, image_.width, z.cview(), z.view());
        b.launch(n * planes, 8 * pixels,
                 times_transfer{pixels, planes, shared_ ? 0 : transfer_.view().stride(), conjugate},
                 transfer_.view().data(), z.view().data());
        b.fft2(fft_direction::inverse, image_.height, image_.width, z.cview(), z.view());
        b.launch(n * planes, 4 * pixels, from_planes{pixels, image_.channels, planes, out.stride()}, z.cview().data(),
                 out.data());
    }
    image_extent image_;
    item_data<B> transfer_{const_view_t<B>()};
    bool shared_;
};

}  // namespace detail

/// Blurs images, every channel alike: with u from 0 to height - 1 and v from 0 to width - 1 of the kernel k,
///     y[i, j] = sum over u, v of k[u, v] x[i + height / 2 - u, j + width / 2 - v],
/// and what lies beyond the image as `border` says. Kernels are the same for all items or one for each; any numbers, of
/// any sum. Few entries are summed as they stand, many by `fft2` on a padded image.
template <Backend B>
class convolution {
    using direct = sparse<B>;
    using circular = detail::circular_convolution<B>;
    using padding = composition<sparse<B>, sparse<B>>;
    using padded = composition<padding, composition<circular, padding>>;

public:
    using operator_tag = linear_tag;
    enum class method { automatic, direct, fourier };

    /// kernels: (height, width) an item, row-major. Downloads them.
    [[nodiscard]] static convolution shared(B& b, const image_extent& image, const_view_t<B> kernel, index_t height,
                                            index_t width, border kind, method how = method::automatic) {
        check_size("convolution::shared", "items of the kernel", kernel.items(), 1);
        return convolution(b, image, kernel, height, width, kind, true, how);
    }
    [[nodiscard]] static convolution per_item(B& b, const image_extent& image, const_view_t<B> kernels, index_t height,
                                              index_t width, border kind, method how = method::automatic) {
        return convolution(b, image, kernels, height, width, kind, false, how);
    }

    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const {
        return std::visit([](const auto& a) { return a.items(); }, a_);
    }
    [[nodiscard]] convolution items(index_t first, index_t count) const {
        return std::visit([&](const auto& a) { return convolution(size_, a.items(first, count)); }, a_);
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("convolution", *this, x, y);
        std::visit([&](const auto& a) { a.apply(b, x, y); }, a_);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("convolution (adjoint)", *this, y, x);
        std::visit([&](const auto& a) { a.apply_adjoint(b, y, x); }, a_);
    }

private:
    using choice = std::variant<direct, circular, padded>;
    convolution(index_t size, choice a) : size_(size), a_(std::move(a)) {}
    convolution(B& b, const image_extent& image, const_view_t<B> kernels, index_t height, index_t width, border kind,
                bool is_shared, method how)
        : size_(image.size()), a_(make(b, image, kernels, height, width, kind, is_shared, how)) {}

    static choice make(B& b, const image_extent& image, const_view_t<B> kernels, index_t height, index_t width,
                       border kind, bool is_shared, method how) {
        detail::check_image("convolution", image);
        check_value("convolution", height >= 1 && width >= 1, "a size of the kernel is below 1");
        check_size("convolution", "features of the kernel", kernels.features(), height * width);
        const auto k = to_host(b, kernels);
        // A kernel of one item may be mostly zero (motion); those of several are taken as full.
        std::vector<std::pair<index_t, index_t>> places;
        for (index_t u = 0; u < height; ++u)
            for (index_t v = 0; v < width; ++v)
                if (!is_shared || k[static_cast<std::size_t>(u * width + v)] != 0) places.emplace_back(u, v);
        if (how == method::direct || (how == method::automatic && places.size() <= 32)) {
            std::vector<sparse_entry> entries;
            for (index_t i = 0; i < image.height; ++i)
                for (index_t j = 0; j < image.width; ++j)
                    for (const auto& [u, v] : places) {
                        const index_t row = detail::at_border(i + height / 2 - u, image.height, kind);
                        const index_t col = detail::at_border(j + width / 2 - v, image.width, kind);
                        if (row >= 0 && col >= 0)
                            entries.push_back({i * image.width + j, row * image.width + col, u * width + v});
                    }
            auto pattern = std::make_shared<const typename direct::pattern>(b, image.pixels(), image.pixels(), entries);
            batch<B> own(b, kernels.features(), kernels.items());
            b.copy(kernels, own.view());
            return is_shared ? direct::shared(std::move(pattern), std::move(own), 1, image.channels)
                             : direct::per_item(std::move(pattern), std::move(own), 1, image.channels);
        }
        if (kind == border::circular) return circular(b, image, k, height, width, is_shared);
        const image_extent large{image.height + height - 1, image.width + width - 1, image.channels};
        const index_t top = (height - 1) / 2, left = (width - 1) / 2;
        return padded(window(b, large, top, left, image.height, image.width),
                      compose(circular(b, large, k, height, width, is_shared),
                              window(b, image, -top, -left, large.height, large.width, kind)));
    }

    index_t size_;
    choice a_;
};

/// exp(-r^2 / 2 sigma^2) on size x size places, of sum 1, row-major.
[[nodiscard]] inline std::vector<double> gaussian_kernel(index_t size, double sigma) {
    check_value("gaussian_kernel", size >= 1, "size is below 1");
    check_positive("gaussian_kernel", "sigma", sigma);
    std::vector<double> k;
    double total = 0;
    for (index_t u = 0; u < size; ++u)
        for (index_t v = 0; v < size; ++v) {
            const auto du = static_cast<double>(u - size / 2), dv = static_cast<double>(v - size / 2);
            k.push_back(std::exp(-(du * du + dv * dv) / (2 * sigma * sigma)));
            total += k.back();
        }
    for (double& w : k) w /= total;
    return k;
}

/// A straight motion over `length` pixels in the direction `degrees` (0: along the row, 90: upwards), of sum 1, on size
/// x size places, row-major: a line through the origin, every point of it shared by the four pixels around.
[[nodiscard]] inline std::vector<double> motion_kernel(index_t size, double length, double degrees) {
    check_value("motion_kernel", size >= 1, "size is below 1");
    check_positive("motion_kernel", "length", length);
    std::vector<double> k(static_cast<std::size_t>(size * size), 0.0);
    const double angle = degrees * 3.14159265358979323846 / 180;
    const auto points = static_cast<index_t>(std::ceil(16 * length));
    double total = 0;
    for (index_t p = 0; p < points; ++p) {
        const double t = ((static_cast<double>(p) + 0.5) / static_cast<double>(points) - 0.5) * length;
        const double row = static_cast<double>(size / 2) - t * std::sin(angle);
        const double col = static_cast<double>(size / 2) + t * std::cos(angle);
        const auto top = static_cast<index_t>(std::floor(row)), left = static_cast<index_t>(std::floor(col));
        for (index_t u = top; u <= top + 1; ++u)
            for (index_t v = left; v <= left + 1; ++v) {
                const double w =
                    (1 - std::abs(row - static_cast<double>(u))) * (1 - std::abs(col - static_cast<double>(v)));
                if (u < 0 || v < 0 || u >= size || v >= size) continue;
                k[static_cast<std::size_t>(u * size + v)] += w;
                total += w;
            }
    }
    for (double& w : k) w /= total;
    return k;
}

}  // namespace diem::linop
