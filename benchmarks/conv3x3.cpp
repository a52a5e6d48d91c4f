// SPDX-License-Identifier: Apache-2.0

/// 3x3 convolutions of the U-Nets on one thread: GFLOP/s of each pass and algorithm, counted as 2 * 9 * in * out
/// multiplications and additions a pixel whatever the algorithm does, and the largest error relative to max |result|
/// against the direct form in double. `im2col` copies the nine taps of an item and calls Eigen's product.
/// Times are the least of the thread's processor time over many calls. Exits with 1 where an error exceeds 1e-5, or 0.05
/// where factors are rounded to bfloat16.
///
///     benchmark_conv3x3 [SECONDS]    seconds spent on each figure, default 0.3; 0: the smallest shapes, once

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <Eigen/Core>

#include <diem/backend/eigen/conv3x3.hpp>

namespace {

using namespace diem;
using namespace diem::detail::eigen;

/// Aligned as the pool's blocks are.
template <class T>
using numbers = std::vector<T, Eigen::aligned_allocator<T>>;
using floats = numbers<float>;
using doubles = numbers<double>;

double now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
double least(double budget, F&& f) {
    double best = 1e300, total = 0;
    for (int n = 0; n < (budget > 0 ? 3 : 1) || total < budget; ++n) {
        const double start = now();
        f();
        const double seconds = now() - start;
        best = std::min(best, seconds);
        total += seconds;
    }
    return best;
}

std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

floats random_floats(index_t n, double scale, std::mt19937& generator) {
    std::normal_distribution<double> normal;
    floats v(size(n));
    for (float& e : v) e = static_cast<float>(scale * normal(generator));
    return v;
}

double deviation(const floats& got, const doubles& expected) {
    double worst = 0, scale = 1e-300;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double e = std::abs(static_cast<double>(got[i]) - expected[i]);
        if (!(e <= worst)) worst = e;
        scale = std::max(scale, std::abs(expected[i]));
    }
    return worst / scale;
}

template <class T>
struct results {
    numbers<T> y, x_bar, kernel_bar;
    double forward = 0, input = 0, params = 0, transform = 0;  ///< seconds
};

template <class T>
results<T> measure(const conv3x3_shape& g, const conv_method& algorithm, const numbers<T>& x, const numbers<T>& y_bar,
                   const numbers<T>& kernel, const numbers<T>& bias, double budget) {
    results<T> r;
    r.y.resize(y_bar.size());
    r.x_bar.resize(x.size());
    r.kernel_bar.resize(kernel.size());
    for (const conv_pass pass : {conv_pass::forward, conv_pass::vjp_input}) {
        numbers<T> weights(size(conv3x3_weights_size<T>(g, pass, algorithm)));
        numbers<T> workspace(size(conv3x3_workspace_size<T>(g, pass, algorithm)));
        r.transform +=
            least(budget / 4, [&] { conv3x3_transform_weights(g, pass, algorithm, kernel.data(), weights.data()); });
        const index_t units = conv3x3_units(g, pass);
        if (pass == conv_pass::forward)
            r.forward = least(budget, [&] {
                conv3x3_forward(g, algorithm, weights.data(), bias.data(), x.data(), r.y.data(), false, 0, units,
                                workspace.data());
            });
        else
            r.input = least(budget, [&] {
                conv3x3_vjp_input(g, algorithm, weights.data(), y_bar.data(), r.x_bar.data(), false, 0, units,
                                  workspace.data());
            });
    }
    numbers<T> workspace(size(conv3x3_params_workspace_size<T>(g, algorithm, conv3x3_all(g))));
    r.params = least(budget, [&] {
        conv3x3_vjp_params<T>(g, algorithm, x.data(), y_bar.data(), r.kernel_bar.data(), false, conv3x3_all(g),
                              workspace.data());
    });
    return r;
}

/// y by im2col and Eigen's product, item by item.
double im2col(const conv3x3_shape& g, const floats& x, const floats& kernel, const floats& bias, floats& y,
              double budget) {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const index_t pixels = g.rows() * g.columns();
    matrix taps(pixels, 9 * g.in);
    const Eigen::Map<const matrix> k(kernel.data(), 9 * g.in, g.out);
    const Eigen::Map<const Eigen::RowVectorXf> b(bias.data(), g.out);
    return least(budget, [&] {
        for (index_t m = 0; m < g.items; ++m) {
            const float* const image = x.data() + m * g.x_step();
            for (index_t i = 0; i < pixels; ++i)
                for (index_t t = 0; t < 9; ++t) {
                    const index_t u = g.stride * (i / g.columns()) + t / 3 - 1;
                    const index_t v = g.stride * (i % g.columns()) + t % 3 - 1;
                    float* const to = &taps(i, t * g.in);
                    if (u >= 0 && u < g.height && v >= 0 && v < g.width)
                        std::copy_n(image + (u * g.width + v) * g.in, g.in, to);
                    else
                        std::fill_n(to, g.in, 0.0f);
                }
            Eigen::Map<matrix> result(y.data() + m * g.y_step(), pixels, g.out);
            result.rowwise() = b;
            result.noalias() += taps * k;
        }
    });
}

std::string name(const conv_method& method) {
    const std::string rounded = method.products == diem::product_precision::bf16 ? ", bf16" : "";
    switch (method.algorithm) {
        case conv_algorithm::direct:
            return "direct" + rounded;
        case conv_algorithm::winograd2:
            return "winograd2" + rounded;
        case conv_algorithm::winograd4:
            return "winograd4" + rounded;
        case conv_algorithm::tiles:
            return "tiles" + rounded;
        default:
            return "automatic" + rounded;
    }
}

}  // namespace

int main(int argc, char** argv) {
    const double budget = argc > 1 ? std::atof(argv[1]) : 0.3;
    const index_t shapes[][5] = {// items, height = width, in, out, stride
                                 {16, 32, 3, 32, 1},   {16, 32, 32, 32, 1},  {16, 32, 96, 32, 1},
                                 {16, 16, 64, 64, 1},  {16, 8, 128, 128, 1}, {16, 32, 32, 64, 2},
                                 {16, 16, 64, 128, 2}, {4, 32, 128, 128, 1}, {4, 32, 384, 128, 1},
                                 {4, 16, 256, 256, 1}, {4, 8, 384, 384, 1},  {4, 32, 128, 256, 2}};
    bool right = true;
    std::printf(
        "| items, image, in -> out, stride | algorithm | forward | input VJP | parameter VJP | errors | "
        "2 kernel transforms / forward |\n|---|---|---|---|---|---|---|\n");
    for (const auto& s : shapes) {
        if (!(budget > 0) && s[0] * s[1] * s[1] * s[2] * s[3] > 1 << 24) continue;
        const conv3x3_shape g{.items = s[0], .height = s[1], .width = s[1], .in = s[2], .out = s[3], .stride = s[4]};
        std::mt19937 generator(1);
        const floats x = random_floats(g.items * g.x_step(), 1, generator);
        const floats y_bar = random_floats(g.items * g.y_step(), 1, generator);
        const floats kernel =
            random_floats(9 * g.in * g.out, 1 / std::sqrt(9.0 * static_cast<double>(g.in)), generator);
        const floats bias = random_floats(g.out, 1, generator);
        const auto exact =
            measure<double>(g, conv_algorithm::direct, {x.begin(), x.end()}, {y_bar.begin(), y_bar.end()},
                            {kernel.begin(), kernel.end()}, {bias.begin(), bias.end()}, 0);
        const double gflop = 2e-9 * 9 * static_cast<double>(g.in * g.out * g.rows() * g.columns() * g.items);
        const auto label = [&](const std::string& algorithm) {
            std::printf("| %d, %dx%d, %d -> %d, %d | %s | ", int(s[0]), int(s[1]), int(s[1]), int(s[2]), int(s[3]),
                        int(s[4]), algorithm.c_str());
        };

        floats y(y_bar.size());
        const double eigen = im2col(g, x, kernel, bias, y, budget);
        right = right && deviation(y, exact.y) <= 1e-5;
        label("im2col");
        std::printf("%.1f | | | %.1e | |\n", gflop / eigen, deviation(y, exact.y));

        constexpr auto bf16 = diem::product_precision::bf16;
        for (const conv_method& method :
             {conv_method(conv_algorithm::direct), conv_method(conv_algorithm::winograd2),
              conv_method(conv_algorithm::winograd4), conv_method(conv_algorithm::automatic),
              conv_method(conv_algorithm::winograd2, bf16), conv_method(conv_algorithm::winograd4, bf16),
              conv_method(conv_algorithm::tiles, bf16)}) {
            if (g.stride == 2 && method.algorithm != conv_algorithm::direct) continue;
            if (method.algorithm == conv_algorithm::tiles && !has_tiles()) continue;
            const auto r = measure<float>(g, method, x, y_bar, kernel, bias, budget);
            const double e[3] = {deviation(r.y, exact.y), deviation(r.x_bar, exact.x_bar),
                                 deviation(r.kernel_bar, exact.kernel_bar)};
            const double most = method.products == bf16 ? 0.05 : 1e-5;
            right = right && e[0] <= most && e[1] <= most && e[2] <= most;
            label(name(method));
            std::printf("%.1f | %.1f | %.1f | %.1e %.1e %.1e | %.3f |\n", gflop / r.forward, gflop / r.input,
                        gflop / r.params, e[0], e[1], e[2], r.transform / r.forward);
            std::fflush(stdout);
        }
    }
    if (!right) std::fprintf(stderr, "an error exceeds 1e-5, or 0.05 where products are rounded\n");
    return right ? 0 : 1;
}
