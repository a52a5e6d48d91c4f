// SPDX-License-Identifier: Apache-2.0
#include <tuple>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>

#include "support/catch.hpp"

using namespace diem;
using namespace diem::detail::eigen;

namespace {

std::vector<float> numbers(index_t size, std::uint64_t seed) {
    eigen_backend<float> b(1);
    batch<eigen_backend<float>> x(b, size, 1);
    b.fill_normal({.seed = seed}, x.view());
    return to_host(b, x);
}

/// One pass with the kernel transformed as a whole, by one thread.
std::vector<float> whole(const conv3x3_shape& g, conv_pass pass, const std::vector<float>& kernel, const float* bias,
                         const std::vector<float>& from, std::vector<float> to, bool accumulate,
                         product_precision products) {
    const conv_method algorithm(conv_algorithm::automatic, products);
    std::vector<float> w(static_cast<std::size_t>(conv3x3_weights_size<float>(g, pass, algorithm)));
    conv3x3_transform_weights(g, pass, algorithm, kernel.data(), w.data());
    std::vector<float> workspace(static_cast<std::size_t>(conv3x3_workspace_size<float>(g, pass, algorithm)));
    const index_t units = conv3x3_units(g, pass);
    if (pass == conv_pass::forward)
        conv3x3_forward(g, algorithm, w.data(), bias, from.data(), to.data(), accumulate, 0, units, workspace.data());
    else
        conv3x3_vjp_input(g, algorithm, w.data(), from.data(), to.data(), accumulate, 0, units, workspace.data());
    return to;
}

}  // namespace

TEST_CASE("conv3x3_plan: large kernels, transformed piece by piece, give what whole ones give", "[backend][conv]") {
    // Sums are made in the same order, so that the numbers are the same. Ragged edges in rows, columns and channels; F(4x4) and, at
    // 4 x 4, F(2x2); the second has too many tiles for pieces.
    for (const auto& [items, height, width, in, out] : {std::tuple{3, 9, 6, 150, 170},
                                                        {9, 12, 10, 160, 150},
                                                        {7, 12, 10, 160, 150},
                                                        {2, 6, 8, 260, 261},
                                                        {3, 4, 4, 330, 331},
                                                        {3, 8, 8, 192, 192}}) {
        const conv3x3_shape g{.items = items, .height = height, .width = width, .in = in, .out = out};
        const auto x = numbers(g.items * g.x_step(), 1), y_bar = numbers(g.items * g.y_step(), 2),
                   kernel = numbers(9 * g.in * g.out, 3), bias = numbers(g.out, 4);
        const auto view = [&](auto& v) { return batch_view(v.data(), index_t(v.size()) / g.items, g.items); };
        const auto vector = [](auto& v) { return vector_view(v.data(), index_t(v.size())); };
        for (const auto products : {product_precision::float32, product_precision::bf16})
            for (const int threads : {1, 3})
                for (const bool accumulate : {false, true}) {
                    CAPTURE(height, width, in, out, threads, accumulate, products == product_precision::bf16);
                    eigen_backend<float> b({.threads = threads, .products = products});
                    conv3x3_plan<float> plan(height, width, in, out, 1);
                    auto y = y_bar;
                    plan.forward(b, vector(kernel), accumulate ? vector_view<const float*>{} : vector(bias), view(x),
                                 view(y), accumulate);
                    CHECK(y == whole(g, conv_pass::forward, kernel, accumulate ? nullptr : bias.data(), x, y_bar,
                                     accumulate, products));
                    auto x_bar = x;
                    plan.vjp(b, vector(kernel), view(y_bar), view(x_bar), accumulate);
                    CHECK(x_bar == whole(g, conv_pass::vjp_input, kernel, nullptr, y_bar, x, accumulate, products));
                }
    }
}

TEMPLATE_TEST_CASE("simd::transpose exchanges rows and columns", "[backend][conv]", float, double) {
    using S = simd<TestType>;
    typename S::vec block[S::width];
    for (int i = 0; i < S::width; ++i)
        for (int j = 0; j < S::width; ++j) block[i][j] = TestType(100 * i + j);
    S::transpose(block);
    bool right = true;
    for (int i = 0; i < S::width; ++i)
        for (int j = 0; j < S::width; ++j) right = right && block[i][j] == TestType(100 * j + i);
    CHECK(right);
}
