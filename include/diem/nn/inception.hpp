// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/window_layers.hpp>

/// \file
/// Inception-v3 as the Frechet Inception distance takes it (weights of 2015-12-05): Szegedy et al. 2015 (arXiv 1512.00567), except that the
/// average pools leave out what lies beyond the border and that the last block has a maximum pool.
/// \snippet tests/examples/nn.cpp nn/inception.hpp

namespace diem::nn {

struct inception_config {
    index_t classes = 1008;
    index_t size = 299;   ///< rows and columns of the images that the convolutions see, at least 75
    index_t divisor = 1;  ///< of all widths: a small network of the same form, for tests
    friend bool operator==(const inception_config&, const inception_config&) = default;
};

namespace detail {

/// The network as a list of steps, x -> features before the last mean. `Steps` makes of it a table of parameters or a forward pass:
///     value conv(name, x, channels, rows, columns, stride = 1, edge = border::same)   convolution, bias, max(., 0)
///     value pool(kind, x, stride, edge)                                               windows of 3 x 3
///     value join({a, b, ..})                                                          channels of a, of b, ..
template <class Steps>
struct inception_blocks {
    using value = typename Steps::value;
    Steps& s;

    /// One block, its branches named after it.
    struct branches {
        Steps& s;
        std::string name;
        template <class... Rest>
        value operator()(const char* branch, const value& x, index_t channels, index_t rows, index_t columns,
                         Rest... rest) const {
            return s.conv(name + "." + branch, x, channels, rows, columns, rest...);
        }
    };

    value block_a(const std::string& name, const value& x, index_t pooled) const {
        const branches conv{s, name};
        const value one = conv("branch1x1", x, 64, 1, 1);
        const value five = conv("branch5x5_2", conv("branch5x5_1", x, 48, 1, 1), 64, 5, 5);
        const value three = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64, 1, 1), 96, 3, 3);
        const value twice = conv("branch3x3dbl_3", three, 96, 3, 3);
        const value pool = conv("branch_pool", s.pool(pooling::mean, x, 1, border::same), pooled, 1, 1);
        return s.join({&one, &five, &twice, &pool});
    }
    value block_b(const std::string& name, const value& x) const {
        const branches conv{s, name};
        const value three = conv("branch3x3", x, 384, 3, 3, 2, border::valid);
        const value twice = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64, 1, 1), 96, 3, 3);
        const value half = conv("branch3x3dbl_3", twice, 96, 3, 3, 2, border::valid);
        const value pool = s.pool(pooling::maximum, x, 2, border::valid);
        return s.join({&three, &half, &pool});
    }
    value block_c(const std::string& name, const value& x, index_t inner) const {
        const branches conv{s, name};
        const value one = conv("branch1x1", x, 192, 1, 1);
        value seven = conv("branch7x7_1", x, inner, 1, 1);
        seven = conv("branch7x7_2", seven, inner, 1, 7);
        seven = conv("branch7x7_3", seven, 192, 7, 1);
        value twice = conv("branch7x7dbl_1", x, inner, 1, 1);
        twice = conv("branch7x7dbl_2", twice, inner, 7, 1);
        twice = conv("branch7x7dbl_3", twice, inner, 1, 7);
        twice = conv("branch7x7dbl_4", twice, inner, 7, 1);
        twice = conv("branch7x7dbl_5", twice, 192, 1, 7);
        const value pool = conv("branch_pool", s.pool(pooling::mean, x, 1, border::same), 192, 1, 1);
        return s.join({&one, &seven, &twice, &pool});
    }
    value block_d(const std::string& name, const value& x) const {
        const branches conv{s, name};
        const value three = conv("branch3x3_2", conv("branch3x3_1", x, 192, 1, 1), 320, 3, 3, 2, border::valid);
        value seven = conv("branch7x7x3_1", x, 192, 1, 1);
        seven = conv("branch7x7x3_2", seven, 192, 1, 7);
        seven = conv("branch7x7x3_3", seven, 192, 7, 1);
        seven = conv("branch7x7x3_4", seven, 192, 3, 3, 2, border::valid);
        const value pool = s.pool(pooling::maximum, x, 2, border::valid);
        return s.join({&three, &seven, &pool});
    }
    value block_e(const std::string& name, const value& x, pooling kind) const {
        const branches conv{s, name};
        const value one = conv("branch1x1", x, 320, 1, 1);
        const value three = conv("branch3x3_1", x, 384, 1, 1);
        const value three_a = conv("branch3x3_2a", three, 384, 1, 3), three_b = conv("branch3x3_2b", three, 384, 3, 1);
        const value twice = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 448, 1, 1), 384, 3, 3);
        const value twice_a = conv("branch3x3dbl_3a", twice, 384, 1, 3);
        const value twice_b = conv("branch3x3dbl_3b", twice, 384, 3, 1);
        const value pool = conv("branch_pool", s.pool(kind, x, 1, border::same), 192, 1, 1);
        return s.join({&one, &three_a, &three_b, &twice_a, &twice_b, &pool});
    }
    value operator()(value x) const {
        x = s.conv("Conv2d_1a_3x3", x, 32, 3, 3, 2, border::valid);
        x = s.conv("Conv2d_2a_3x3", x, 32, 3, 3, 1, border::valid);
        x = s.conv("Conv2d_2b_3x3", x, 64, 3, 3);
        x = s.pool(pooling::maximum, x, 2, border::valid);
        x = s.conv("Conv2d_3b_1x1", x, 80, 1, 1);
        x = s.conv("Conv2d_4a_3x3", x, 192, 3, 3, 1, border::valid);
        x = s.pool(pooling::maximum, x, 2, border::valid);
        x = block_a("Mixed_5b", x, 32);
        x = block_a("Mixed_5c", x, 64);
        x = block_a("Mixed_5d", x, 64);
        x = block_b("Mixed_6a", x);
        x = block_c("Mixed_6b", x, 128);
        x = block_c("Mixed_6c", x, 160);
        x = block_c("Mixed_6d", x, 160);
        x = block_c("Mixed_6e", x, 192);
        x = block_d("Mixed_7a", x);
        x = block_e("Mixed_7b", x, pooling::mean);
        return block_e("Mixed_7c", x, pooling::maximum);
    }
};

/// Steps that add parameters: a value is the shape of an image.
struct inception_table {
    using value = image_shape;
    parameter_table& table;
    index_t divisor;

    value conv(const std::string& name, const value& x, index_t channels, index_t rows, index_t columns,
               index_t stride = 1, border edge = border::same) const {
        const window w{x, rows, columns, stride, edge};
        table.add(name + ".kernel", {rows, columns, x.channels, channels / divisor},
                  std::sqrt(6 / static_cast<double>(w.depth())));
        table.add(name + ".bias", {channels / divisor}, 0);
        return {w.result_height(), w.result_width(), channels / divisor};
    }
    value pool(pooling, const value& x, index_t stride, border edge) const {
        const window w{x, 3, 3, stride, edge};
        return {w.result_height(), w.result_width(), x.channels};
    }
    value join(std::initializer_list<const value*> parts) const {
        value y{(*parts.begin())->height, (*parts.begin())->width, 0};
        for (const value* part : parts) y.channels += part->channels;
        return y;
    }
};

/// Steps that compute: a value is a batch of images.
template <Backend B>
struct inception_pass {
    struct value {
        image_shape shape;
        batch<B> x;
        [[nodiscard]] index_t items() const { return x.items(); }
        /// One column per pixel.
        [[nodiscard]] const_view_t<B> columns() const {
            return x.cview().reshaped(shape.channels, shape.pixels() * x.items());
        }
    };
    B& b;
    const parameter_table& table;
    const_vector_t<B> p;

    value conv(const std::string& name, const value& x, index_t, index_t rows, index_t columns, index_t stride = 1,
               border edge = border::same) const {
        const parameter &kernel = table.find(name + ".kernel"), &bias = table.find(name + ".bias");
        const window w{x.shape, rows, columns, stride, edge};
        value y = of({w.result_height(), w.result_width(), bias.size}, x.items());
        conv_relu_forward<B>(b, w, bias.size, x.x, kernel.of(p), bias.of(p), y.x);
        return y;
    }
    value pool(pooling kind, const value& x, index_t stride, border edge) const {
        const window w{x.shape, 3, 3, stride, edge};
        value y = of({w.result_height(), w.result_width(), x.shape.channels}, x.items());
        pool_forward<B>(b, kind, w, x.x, y.x);
        return y;
    }
    value join(std::initializer_list<const value*> parts) const {
        image_shape shape = (*parts.begin())->shape;
        shape.channels = 0;
        for (const value* part : parts) shape.channels += part->shape.channels;
        value y = of(shape, (*parts.begin())->items());
        const auto columns = y.x.view().reshaped(shape.channels, shape.pixels() * y.items());
        index_t first = 0;
        for (const value* part : parts) {
            b.copy(part->columns(), columns.feature_range(first, part->shape.channels));
            first += part->shape.channels;
        }
        return y;
    }
    [[nodiscard]] value of(image_shape shape, index_t items) const {
        return {shape, batch<B>(b, shape.features(), items)};
    }
};

/// An image in [-2, 2] as the nearest of 256 levels, 0 at -2 and 255 at 2 - 1/64 (see io/cifar.hpp), these in [-1, 1]. NaN is level 0.
template <class T>
struct round_to_levels {
    index_t features, stride;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* x_, T* y_) const {
        const T* const x = x_ + item * stride;
        T* const y = y_ + item * features;
        for (index_t k = 0; k < features; ++k) {
            const T level = (x[k] + T(2)) * T(64) + T(0.5);
            const int whole = !(level > T(0)) ? 0 : level >= T(255) ? 255 : static_cast<int>(level);
            y[k] = static_cast<T>(whole) / T(127.5) - T(1);
        }
    }
};
}  // namespace detail

/// Features and class logits of images, forward alone: what is judged by them is not trained through them. Parameters
/// `<layer>.kernel` (rows, columns, in, out), `<layer>.bias`, `fc.weight`, `fc.bias`, with the batch norms folded into the convolutions
/// (tools/convert_inception).
class inception_v3 {
public:
    /// Throws value_error where the image is smaller than 75 or the divisor is none of 1, 2, 4, 8, 16.
    explicit inception_v3(inception_config config = {}) : config_(config) {
        check_value("nn::inception_v3", config.size >= 75, "images are smaller than 75 pixels");
        check_value("nn::inception_v3", config.classes >= 1, "there are no classes");
        check_value("nn::inception_v3", config.divisor >= 1 && config.divisor <= 16 && 16 % config.divisor == 0,
                    "divisor is " + std::to_string(config.divisor) + ", expected 1, 2, 4, 8 or 16");
        detail::inception_table steps{table_, config.divisor};
        last_ = detail::inception_blocks<detail::inception_table>{steps}(input());
        add_linear(table_, "fc", features(), config.classes);
    }
    [[nodiscard]] const inception_config& config() const { return config_; }
    [[nodiscard]] const parameter_table& parameters() const { return table_; }
    /// 2048 / divisor.
    [[nodiscard]] index_t features() const { return last_.channels; }

    /// f (features x items) = mean over pixels of the last block. x: images of extents `shape` with three channels, in [-2, 2]; they are
    /// rounded to 256 levels, then resized (`resize_forward`) and brought to [-1, 1], as by pytorch-fid of PNG files. `part` images at a time.
    template <Backend B>
    void forward(B& b, const_vector_t<B> p, image_shape shape, const_view_t<B> x, view_t<B> f, index_t part = 4) const {
        check_size("nn::inception_v3", "channels of the images", shape.channels, 3);
        check_size("nn::inception_v3", "features of the images", x.features(), shape.features());
        check_size("nn::inception_v3", "parameters", p.size(), table_.size());
        check_shape("nn::inception_v3", "features", f, features(), x.items());
        check_value("nn::inception_v3", part >= 1, "part < 1");
        detail::inception_pass<B> steps{b, table_, p};
        for (index_t first = 0; first < x.items(); first += part) {
            const index_t count = std::min(part, x.items() - first);
            batch<B> levels(b, shape.features(), count);
            b.launch(count, shape.features(), detail::round_to_levels<scalar_t<B>>{shape.features(), x.stride()},
                     x.item_range(first, count).data(), levels.view().data());
            auto y = steps.of(input(), count);
            resize_forward<B>(b, shape, input(), levels, y.x);
            y = detail::inception_blocks<detail::inception_pass<B>>{steps}(std::move(y));
            batch<B> mean(b, features(), count);
            pool_forward<B>(b, pooling::mean, {last_, last_.height, last_.width, 1, border::valid}, y.x, mean);
            b.copy(mean.cview(), f.item_range(first, count));
        }
    }
    /// z (classes x items) = fc.weight' f + fc.bias. Without the bias it is what the Inception score is taken of (Salimans et al. 2016).
    template <Backend B>
    void logits(B& b, const_vector_t<B> p, const_view_t<B> f, view_t<B> z, bool bias) const {
        check_size("nn::inception_v3", "parameters", p.size(), table_.size());
        linear_forward<B>(b, f, table_.find("fc.weight").of(p),
                          bias ? table_.find("fc.bias").of(p) : const_vector_t<B>(), z);
    }

private:
    [[nodiscard]] image_shape input() const { return {config_.size, config_.size, 3}; }

    inception_config config_;
    parameter_table table_;
    image_shape last_;
};

}  // namespace diem::nn
