// SPDX-License-Identifier: Apache-2.0

// Convolutions by cuDNN against the reference backend, what is kept between calls, and errors.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/reference.hpp>
#include <diem/cudnn.cuh>
#include <diem/nn/conv_plan.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"

using namespace diem;
using nn::update;
using test::contains, test::message_of;

namespace {

using B = cuda_backend<float, cudnn_conv3x3>;
using R = reference_backend<double>;
static_assert(HasConv3x3<B>);

struct shape {
    index_t height, width, in, out, stride, items;
    [[nodiscard]] nn::conv_shape conv() const { return {{height, width, in}, out, 3, stride}; }
};
constexpr std::array<shape, 9> shapes{{{8, 6, 3, 4, 1, 2},
                                       {7, 5, 2, 3, 2, 3},
                                       {8, 8, 4, 6, 2, 2},
                                       {1, 1, 1, 1, 1, 1},
                                       {1, 1, 2, 3, 2, 2},
                                       {1, 9, 5, 2, 1, 1},
                                       {5, 2, 17, 9, 2, 4},
                                       {13, 11, 8, 16, 1, 3},
                                       {4, 4, 2, 2, 1, 0}}};

std::vector<float> numbers(index_t n, std::uint32_t step) {
    R r;
    batch<R> x(r, n, 1);
    r.fill_normal({.seed = 5, .step = step}, x.view());
    const auto wide = to_host(r, x);
    return {wide.begin(), wide.end()};
}
/// The largest difference over the size of the largest number; NaN where there is one.
double distance(const std::vector<float>& a, const std::vector<double>& b) {
    double top = 1e-30, worst = 0;
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        top = std::max(top, std::abs(b[i]));
        const double error = std::abs(a[i] - b[i]);
        if (!(error >= 0)) return error;
        worst = std::max(worst, error);
    }
    return worst / top;
}

template <class E>
struct results {
    std::vector<scalar_t<E>> y, tangent, x_bar, kernel_bar, bias_bar;
};
/// All products of one convolution, written over NaN or added to `old` numbers.
template <class E>
results<E> products(E& e, nn::conv_plan<E>& plan, index_t items, update mode, std::uint32_t step = 0) {
    const nn::conv_shape s = plan.shape();
    const index_t m = s.in.features(), n = s.result().features();
    const auto input = [&](index_t features, index_t count, std::uint32_t k) {
        const auto host = numbers(features * count, step + k);
        return to_backend(e, std::vector<scalar_t<E>>(host.begin(), host.end()), features, count);
    };
    const auto target = [&](index_t features, index_t count, std::uint32_t k) {
        auto to = input(features, count, k);
        if (mode == update::overwrite) e.fill(to.view(), scalar_t<E>(NAN));
        return to;
    };
    const auto x = input(m, items, 1), kernel = input(s.kernel_size(), 1, 2), bias = input(s.out, 1, 3),
               y_bar = input(n, items, 4);
    auto y = target(n, items, 5), tangent = target(n, items, 6), x_bar = target(m, items, 7),
         kernel_bar = target(s.kernel_size(), 1, 8), bias_bar = target(s.out, 1, 9);
    plan.forward(e, x, kernel.flat(), bias.flat(), y, mode);
    plan.forward(e, x, kernel.flat(), {}, tangent, mode);
    plan.vjp(e, y_bar, kernel.flat(), x_bar, mode);
    plan.vjp_params(e, x, y_bar, kernel_bar.flat(), bias_bar.flat(), mode);
    return {to_host(e, y), to_host(e, tangent), to_host(e, x_bar), to_host(e, kernel_bar), to_host(e, bias_bar)};
}
void compare(const results<B>& got, const results<R>& expected, double tolerance) {
    CHECK(distance(got.y, expected.y) <= tolerance);
    CHECK(distance(got.tangent, expected.tangent) <= tolerance);
    CHECK(distance(got.x_bar, expected.x_bar) <= tolerance);
    CHECK(distance(got.kernel_bar, expected.kernel_bar) <= tolerance);
    CHECK(distance(got.bias_bar, expected.bias_bar) <= tolerance);
}

}  // namespace

TEST_CASE("cudnn: the example of diem/cudnn.cuh") {
    // [cudnn.cuh]
    using backend = diem::cuda_backend<float, diem::cudnn_conv3x3>;
    backend b;
    diem::nn::conv_plan<backend> plan({.in = {8, 8, 1}, .out = 1});
    diem::batch<backend> x(b, 64, 2), y(b, 64, 2), kernel(b, 9, 1);
    b.fill(x.view(), 1.0F);
    b.fill(kernel.view(), 1.0F);
    plan.forward(b, x, kernel.flat(), {}, y);  // by cuDNN: 9 inside the image, 4 in its corners
    // [cudnn.cuh]
    CHECK(to_host(b, y)[0] == 4);
    CHECK(to_host(b, y)[9] == 9);
}

TEST_CASE("cudnn: products of a convolution are those of the reference backend", "[cuda]") {
    B b;
    R r;
    for (const auto& s : shapes)
        for (const update mode : {update::overwrite, update::accumulate}) {
            INFO(s.height << " x " << s.width << ", " << s.in << " to " << s.out << ", stride " << s.stride
                          << ", items " << s.items << (mode == update::overwrite ? "" : ", accumulate"));
            nn::conv_plan<B> plan(s.conv());
            nn::conv_plan<R> reference(s.conv());
            // Sums of at most 9 * 17 or 13 * 11 * 3 terms in float32, by an algorithm that may be Winograd's.
            compare(products(b, plan, s.items, mode), products(r, reference, s.items, mode), 1e-5);
        }
}

TEST_CASE("cudnn: a batch cut into blocks of items gives what the whole gives", "[cuda]") {
    B b;
    const index_t items = 7, in = 3, out = 4;
    const auto run = [&](index_t most) {
        cudnn_conv3x3<float> c(6, 5, in, out, 1, most);
        auto x = to_backend(b, numbers(30 * in * items, 1), 30 * in, items),
             y = to_backend(b, numbers(30 * out * items, 2), 30 * out, items),
             kernel = to_backend(b, numbers(9 * in * out, 3), 9 * in * out, 1), bias_bar = batch<B>(b, out, 1);
        std::vector<std::vector<float>> all;
        c.vjp_params(b, x.cview(), y.cview(), kernel.flat(), bias_bar.flat(), true);
        all.push_back(to_host(b, kernel));
        c.forward(b, kernel.flat(), {}, x.cview(), y.view(), true);
        all.push_back(to_host(b, y));
        c.vjp(b, kernel.flat(), y.cview(), x.view(), false);
        all.push_back(to_host(b, x));
        return all;
    };
    const auto whole = run(1 << 20);
    for (const index_t most : {2 * 30 * out + 1, index_t{1}}) {  // blocks of 2, 2, 2 and 1 items; of one item
        const auto blocks = run(most);
        for (std::size_t k = 0; k < whole.size(); ++k)
            CHECK(distance(blocks[k], std::vector<double>(whole[k].begin(), whole[k].end())) <= 1e-5);
    }
    cudnn_conv3x3<float> large(50000, 50000, 1, 1, 1);
    auto kernel = to_backend(b, numbers(9, 3), 9, 1);
    CHECK(contains(message_of([&] { large.forward(b, kernel.flat(), {}, const_view_t<B>(), view_t<B>(), false); }),
                   "cudnn_conv3x3: an image or the kernel has more than"));
}

TEST_CASE("cudnn: the kernel is transposed again where it has changed", "[cuda]") {
    B b;
    R r;
    const nn::conv_shape s{{6, 7, 3}, 5, 3, 1};
    nn::conv_plan<B> plan(s);
    nn::conv_plan<R> reference(s);
    compare(products(b, plan, 2, update::overwrite), products(r, reference, 2, update::overwrite), 1e-5);
    plan.changed();
    compare(products(b, plan, 2, update::overwrite, 100), products(r, reference, 2, update::overwrite, 100), 1e-5);
}

TEST_CASE("cudnn: results repeat bit for bit, and nothing is allocated once warm", "[cuda]") {
    B b;
    nn::conv_plan<B> plan({{9, 8, 16}, 24, 3, 1});
    const auto first = products(b, plan, 3, update::overwrite);
    products(b, plan, 3, update::overwrite);
    const auto allocations = b.memory().allocations();
    const auto again = products(b, plan, 3, update::overwrite);
    CHECK(b.memory().allocations() == allocations);
    CHECK(again.y == first.y);
    CHECK(again.x_bar == first.x_bar);
    CHECK(again.kernel_bar == first.kernel_bar);
    CHECK(again.bias_bar == first.bias_bar);
}

TEST_CASE("cudnn: operands are rounded to TF32 where that was asked for", "[cuda]") {
    R r;
    const nn::conv_shape s{{9, 8, 16}, 24, 3, 1};
    nn::conv_plan<R> reference(s);
    const auto expected = products(r, reference, 2, update::overwrite);
    for (const auto precision : {product_precision::tf32, product_precision::bf16}) {
        B b({.products = precision});
        nn::conv_plan<B> plan(s);
        const auto got = products(b, plan, 2, update::overwrite);
        // Each term has a relative error of at most 2^-10, the largest sums are larger than a term.
        CHECK(distance(got.y, expected.y) <= 4.0 / 1024);
        CHECK(distance(got.x_bar, expected.x_bar) <= 4.0 / 1024);
        CHECK(distance(got.kernel_bar, expected.kernel_bar) <= 4.0 / 1024);
#if !defined(__CUDACC__)  // a device may have no such units
        CHECK(distance(got.y, expected.y) > 1e-5);
        CHECK(distance(got.x_bar, expected.x_bar) > 1e-5);
        CHECK(distance(got.kernel_bar, expected.kernel_bar) > 1e-5);
#endif
    }
}

#if !defined(__CUDACC__)
// The rest asks the stand-in of the library, or makes it fail.

TEST_CASE("cudnn host: algorithms are chosen once for a shape, layers share them", "[cuda]") {
    auto& library = cuda_host::dnn::get();
    const auto before = library.objects;
    {
        B b;
        nn::conv_plan<B> one({{6, 6, 4}, 4, 3, 1}), two({{6, 6, 4}, 4, 3, 1});
        const auto searches = library.searches;
        products(b, one, 2, update::overwrite);
        CHECK(library.searches == searches + 3);
        products(b, one, 2, update::accumulate);
        products(b, two, 2, update::overwrite);
        CHECK(library.searches == searches + 3);
        products(b, one, 1, update::overwrite);
        CHECK(library.searches == searches + 6);
        const B copy = b;
        CHECK(library.objects > before);
    }
    CHECK(library.objects == before);
}

TEST_CASE("cudnn host: where no algorithm repeats, an error says for which shape", "[cuda]") {
    auto& library = cuda_host::dnn::get();
    B b;
    nn::conv_plan<B> plan({{6, 7, 3}, 5, 3, 2});
    const auto before = library.objects;
    library.repeatable = false;
    const auto message = message_of([&] { products(b, plan, 2, update::overwrite); });
    library.repeatable = true;
    CHECK(contains(message,
                   "cudnnGetConvolutionForwardAlgorithm_v7: no algorithm that repeats, for 2 images of 6 x 7, "
                   "channels 3 to 5, stride 2"));
    CHECK(library.objects == before);
    CHECK_NOTHROW(products(b, plan, 2, update::overwrite));
}

TEST_CASE("cudnn host: a failing call is named with its code", "[cuda]") {
    auto& device = cuda_host::device::get();
    const auto before = cuda_host::dnn::get().objects;
    {
        B b;
        nn::conv_plan<B> plan({{6, 6, 4}, 4, 3, 1});
        const auto fails = [&](const char* call, int code, auto&& f) {
            device.fail_call = call;
            device.fail_code = code;
            const auto message = message_of(f);
            CHECK(device.fail_call.empty());
            CHECK_NOTHROW(f());
            return message;
        };
        const auto all = [&] { products(b, plan, 2, update::overwrite); };
        CHECK(contains(fails("cudnnCreateFilterDescriptor", 2000, all),
                       "cudnnCreateFilterDescriptor failed: CUDNN_STATUS_BAD_PARAM (2000), at cudnn.cuh:"));
        CHECK(contains(fails("cudnnConvolutionForward", 5000, all),
                       "cudnnConvolutionForward failed: CUDNN_STATUS_EXECUTION_FAILED (5000), at cudnn.cuh:"));
        CHECK(contains(fails("cudnnConvolutionBackwardData", 5000, all), "cudnnConvolutionBackwardData failed"));
        CHECK(contains(fails("cudnnConvolutionBackwardFilter", 5000, all), "cudnnConvolutionBackwardFilter failed"));
        nn::conv_plan<B> other({{5, 6, 4}, 4, 3, 1});
        CHECK(contains(fails("cudnnGetAlgorithm", 3000, [&] { products(b, other, 2, update::overwrite); }),
                       "cudnnGetConvolutionForwardAlgorithm_v7 failed: CUDNN_STATUS_NOT_SUPPORTED (3000)"));
        const auto make = [] { B(); };
        CHECK(contains(fails("cudnnCreate", 1001, make), "cudnnCreate failed: CUDNN_STATUS_NOT_INITIALIZED (1001)"));
        CHECK(contains(fails("cudnnSetStream", 2000, make), "cudnnSetStream failed: CUDNN_STATUS_BAD_PARAM"));
    }
    CHECK(cuda_host::dnn::get().objects == before);
}
#endif
