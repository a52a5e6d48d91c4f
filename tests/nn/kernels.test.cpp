// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <diem/nn/activation.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/conv.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/gated_residual.hpp>
#include <diem/nn/group_norm.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/modulation.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/resample.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/triple_harness.hpp"

using namespace diem;
using namespace diem::test;
using nn::update;

#define DIEM_TRIPLE_TEST(name) TEMPLATE_TEST_CASE(name, "[nn]", DIEM_TEST_BACKENDS)

namespace {
template <Backend B>
const_vector_t<B> vec(const batch<B>& x) {
    return x.flat();
}
}  // namespace

DIEM_TRIPLE_TEST("linear") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& [in, out, n] : {std::array<index_t, 3>{7, 5, 4}, {1, 1, 1}, {3, 4, 0}, {33, 20, 70}})
        for (const bool bias : {true, false})
            check_triple<B>(
                b, {.name = "linear",
                    .inputs = {{in, n}, {in * out, 1}, {bias ? out : 0, 1}},
                    .result = {out, n},
                    .tangents = 1,
                    .forward = [](B& s, A& x, view_t<B> y,
                                  update m) { nn::linear_forward<B>(s, x[0], vec(x[1]), vec(x[2]), y, m); },
                    .jvp = [](B& s, A& x, A& d, view_t<B> y, update m) { nn::linear_jvp<B>(s, d[0], vec(x[1]), y, m); },
                    .vjp =
                        [](B& s, A& x, const_view_t<B> g, A& r, update m) {
                            nn::linear_vjp<B>(s, g, vec(x[1]), r[0], m);
                            nn::linear_vjp_params<B>(s, x[0], g, r[1].flat(), r[2].flat(), m);
                        }});
}

DIEM_TRIPLE_TEST("conv") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    struct test_case {
        nn::conv_shape s;
        index_t n;
    };
    for (const auto& [shape, n] :
         {test_case{{{8, 6, 3}, 4, 3, 1}, 2}, test_case{{{7, 5, 2}, 3, 3, 2}, 3}, test_case{{{1, 1, 1}, 1, 3, 1}, 1},
          test_case{{{4, 4, 2}, 2, 3, 1}, 0}, test_case{{{5, 4, 3}, 4, 1, 1}, 2}, test_case{{{6, 4, 17}, 5, 3, 2}, 2},
          test_case{{{5, 6, 2}, 2, 5, 1}, 1}}) {
        const nn::conv_shape s = shape;
        check_triple<B>(
            b, {.name = "conv",
                .inputs = {{s.in.features(), n}, {s.kernel_size(), 1}, {s.out, 1}},
                .result = {s.result().features(), n},
                .tangents = 1,
                .forward = [s](B& e, A& x, view_t<B> y,
                               update m) { nn::conv_forward<B>(e, s, x[0], vec(x[1]), vec(x[2]), y, m); },
                .jvp = [s](B& e, A& x, A& d, view_t<B> y, update m) { nn::conv_jvp<B>(e, s, d[0], vec(x[1]), y, m); },
                .vjp =
                    [s](B& e, A& x, const_view_t<B> g, A& r, update m) {
                        nn::conv_vjp<B>(e, s, g, vec(x[1]), r[0], m);
                        nn::conv_vjp_params<B>(e, s, x[0], g, r[1].flat(), r[2].flat(), m);
                    }});
    }
}

DIEM_TRIPLE_TEST("silu, softmax, dropout") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& e : {extent{17, 3}, extent{1, 1}, extent{5, 0}, extent{0, 3}, extent{40, 5}}) {
        check_triple<B>(
            b, {.name = "silu",
                .inputs = {e},
                .result = e,
                .forward = [](B& s, A& x, view_t<B> y, update m) { nn::silu_forward<B>(s, x[0], y, m); },
                .jvp = [](B& s, A& x, A& d, view_t<B> y, update m) { nn::silu_jvp<B>(s, x[0], d[0], y, m); },
                .vjp = [](B& s, A& x, const_view_t<B> g, A& r, update m) { nn::silu_vjp<B>(s, x[0], g, r[0], m); }});
        check_triple<B>(
            b, {.name = "silu slope",
                .inputs = {e},
                .result = e,
                .forward = [](B& s, A& x, view_t<B> y, update m) { nn::silu_forward<B>(s, x[0], y, m); },
                .jvp =
                    [e](B& s, A& x, A& d, view_t<B> y, update m) {
                        batch<B> out(s, e.features, e.items), slope(s, e.features, e.items);
                        nn::silu_forward_slope<B>(s, x[0], out, slope);
                        s.map(functors::multiply{}, slope.view(), d[0].cview());
                        s.axpby(1.0, slope.cview(), m == update::accumulate ? 1.0 : 0.0, y);
                    },
                .vjp = [](B& s, A& x, const_view_t<B> g, A& r, update m) { nn::silu_vjp<B>(s, x[0], g, r[0], m); }});
        check_triple<B>(b, {.name = "softmax",
                            .inputs = {e},
                            .result = e,
                            .forward = [](B& s, A& x, view_t<B> y, update m) { nn::softmax_forward<B>(s, x[0], y, m); },
                            .jvp =
                                [e](B& s, A& x, A& d, view_t<B> y, update m) {
                                    batch<B> out(s, e.features, e.items);
                                    nn::softmax_forward<B>(s, x[0], out);
                                    nn::softmax_jvp<B>(s, out, d[0], y, m);
                                },
                            .vjp =
                                [e](B& s, A& x, const_view_t<B> g, A& r, update m) {
                                    batch<B> out(s, e.features, e.items);
                                    nn::softmax_forward<B>(s, x[0], out);
                                    nn::softmax_vjp<B>(s, out, g, r[0], m);
                                }});
        const random_key key{5, random_lane::dropout, 3, 11};
        check_triple<B>(
            b, {.name = "dropout",
                .inputs = {e},
                .result = e,
                .forward = [key](B& s, A& x, view_t<B> y,
                                 update m) { nn::dropout_forward<B>(s, 0.4, key, 8, x[0], y, m); },
                .jvp = [key](B& s, A&, A& d, view_t<B> y, update m) { nn::dropout_jvp<B>(s, 0.4, key, 8, d[0], y, m); },
                .vjp = [key](B& s, A&, const_view_t<B> g, A& r,
                             update m) { nn::dropout_vjp<B>(s, 0.4, key, 8, g, r[0], m); }});
    }
}

DIEM_TRIPLE_TEST("dropout keeps what bernoulli keeps, wherever the batch is cut") {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    const random_key key{9, random_lane::dropout, 2, 4};
    const double rate = 0.25;
    batch<B> x(b, 10, 6), y(b, 10, 6);
    b.fill(x.view(), T(3));
    nn::dropout_forward<B>(b, rate, key, 4, x, y);
    nn::dropout_forward<B>(b, rate, key.skip_items(2), 4, x.cview().item_range(2, 3), y.view().item_range(2, 3));
    const auto got = to_host(b, y);
    for (std::uint32_t i = 0; i < 6; ++i)
        for (std::uint32_t j = 0; j < 10; ++j)
            CHECK(got[10 * i + j] == (bernoulli(key, i, 4 + j, 1 - rate) ? T(3) * T(1 / (1 - rate)) : T(0)));
}

namespace {
// Against differences, the reference backend and, number by number, the formula.
template <class B, class After>
void check_group_norm(index_t pixels, index_t channels, index_t groups, index_t n, bool mapped) {
    using T = scalar_t<B>;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    const nn::group_norm_shape s{pixels, channels, groups};
    const auto drawn = [&](index_t items, std::uint32_t step) {
        batch<B> v(b, channels, items);
        b.fill_normal({.seed = 5, .lane = random_lane::user, .step = step}, v.view());
        return v;
    };
    const auto gamma = drawn(1, 0), beta = drawn(1, 1), before = drawn(n, 2), scale = drawn(1, 3), shift = drawn(n, 4);
    nn::group_norm_map<B> map{gamma.flat(), beta.flat()};
    if (mapped) map = {gamma.flat(), beta.flat(), before.cview(), scale.cview(), shift.cview()};
    const auto forward = [&](B& k, const_view_t<B> x, view_t<B> y) {
        nn::group_norm_forward<B, After>(k, s, x, nn::group_norm_table<B>(k, s, x, map).cview(), y);
    };
    check_triple<B>(b, {.name = After::linear ? "group norm" : "group norm, silu",
                        .inputs = {{s.features(), n}},
                        .result = {s.features(), n},
                        .forward =
                            [&](B& k, A& x, view_t<B> y, update m) {
                                batch<B> fresh(k, s.features(), n);
                                forward(k, x[0], fresh.view());
                                k.axpby(1.0, fresh.cview(), m == update::accumulate ? 1.0 : 0.0, y);
                            },
                        .jvp =
                            [&](B& k, A& x, A& d, view_t<B> y, update m) {
                                nn::group_norm_jvp<B, After>(
                                    k, s, x[0], nn::group_norm_table<B>(k, s, x[0], map).cview(), d[0], y, m);
                            },
                        .vjp =
                            [&](B& k, A& x, const_view_t<B> g, A& r, update m) {
                                nn::group_norm_vjp<B, After>(
                                    k, s, x[0], nn::group_norm_table<B>(k, s, x[0], map).cview(), g, r[0].view(), m);
                            }});
    if (n == 0) return;
    // The formula, number by number.
    batch<B> x(b, s.features(), n), y(b, s.features(), n);
    b.fill_normal({.seed = 6, .lane = random_lane::user}, x.view());
    forward(b, x, y.view());
    const auto u = to_host(b, x), got = to_host(b, y), g = to_host(b, gamma), o = to_host(b, beta),
               first = to_host(b, before), more = to_host(b, scale), last = to_host(b, shift);
    const auto at = [](const std::vector<T>& v, index_t k) {
        return static_cast<double>(v[static_cast<std::size_t>(k)]);
    };
    double worst = 0;
    for (index_t i = 0; i < n; ++i)
        for (index_t group = 0; group < groups; ++group) {
            const auto value = [&](index_t k, index_t j) {
                return at(u, (i * pixels + k) * channels + j) + (mapped ? at(first, i * channels + j) : 0.0);
            };
            const index_t begin = group * s.each(), end = begin + s.each();
            double mean = 0, square = 0;
            for (index_t k = 0; k < pixels; ++k)
                for (index_t j = begin; j < end; ++j) mean += value(k, j) / static_cast<double>(pixels * s.each());
            for (index_t k = 0; k < pixels; ++k)
                for (index_t j = begin; j < end; ++j)
                    square += std::pow(value(k, j) - mean, 2) / static_cast<double>(pixels * s.each());
            for (index_t k = 0; k < pixels; ++k)
                for (index_t j = begin; j < end; ++j) {
                    double expected = at(g, j) * (value(k, j) - mean) / std::sqrt(square + s.epsilon) + at(o, j);
                    if (mapped) expected = (1 + at(more, j)) * expected + at(last, i * channels + j);
                    if (!After::linear) expected /= 1 + std::exp(-expected);
                    worst = std::max(worst, std::abs(expected - at(got, (i * pixels + k) * channels + j)));
                }
        }
    INFO(pixels << " pixels, " << channels << " channels, " << groups << " groups, worst " << worst);
    CHECK(worst <= (sizeof(T) == 8 ? 1e-12 : 1e-5));
}
}  // namespace

DIEM_TRIPLE_TEST("group norm, alone and with silu") {
    // Pixels in whole blocks of sums, in less than one, and in one and a rest.
    for (const auto& [pixels, channels, groups, n] : {std::array<index_t, 4>{64, 8, 2, 3},
                                                      {45, 6, 2, 2},
                                                      {9, 12, 12, 2},
                                                      {70, 40, 5, 1},
                                                      {33, 16, 1, 2},
                                                      {4, 4, 2, 0}})
        for (const bool mapped : {false, true}) {
            check_group_norm<TestType, nn::norm_alone>(pixels, channels, groups, n, mapped);
            check_group_norm<TestType, nn::then_silu>(pixels, channels, groups, n, mapped);
        }
}

// e^x in vectors of the host's compiler, where bodies of kernels have those.
TEMPLATE_TEST_CASE("exponentials of vectors", "", float, double) {
    using T = TestType;
    using V = typename nn::detail::lanes<T>::vec;
    constexpr int size = nn::detail::lanes<T>::size;
    const auto at = [](T x) {
        T values[size];
        nn::detail::store<V>(values, nn::detail::exponential<T>(V{} + x));
        for (const T v : values) CHECK(std::memcmp(&v, values, sizeof v) == 0);
        return values[0];
    };
    const T limit = sizeof(T) == 8 ? T(700) : T(86);
    double worst = 0;
    for (int k = -4000; k <= 4000; ++k) {
        const T x = limit * static_cast<T>(k) / T(4000);
        const double expected = static_cast<double>(std::exp(static_cast<long double>(x)));
        worst = std::max(worst, std::abs(static_cast<double>(at(x)) / expected - 1));
    }
    CHECK(worst <= std::numeric_limits<T>::epsilon());
    CHECK(at(0) == 1);
    CHECK(std::isnan(at(std::numeric_limits<T>::quiet_NaN())));
    // Beyond its range: the ends of it.
    const T infinity = std::numeric_limits<T>::infinity();
    CHECK((at(-infinity) <= std::exp(-limit) && at(-infinity) >= 0));
    CHECK((at(infinity) >= std::exp(limit) && std::isfinite(at(2 * limit))));
}

DIEM_TRIPLE_TEST("layer norm") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& e : {extent{7, 15}, extent{1, 1}, extent{5, 0}, extent{40, 3}, extent{16, 2}})
        check_triple<B>(
            b,
            {.name = "layer norm",
             .inputs = {e},
             .result = e,
             .forward = [](B& s, A& x, view_t<B> y, update m) { nn::layer_norm_forward<B>(s, x[0], y, m); },
             .jvp = [](B& s, A& x, A& d, view_t<B> y, update m) { nn::layer_norm_jvp<B>(s, x[0], d[0], y, m); },
             .vjp = [](B& s, A& x, const_view_t<B> g, A& r, update m) { nn::layer_norm_vjp<B>(s, x[0], g, r[0], m); }});
    for (const index_t shared : {0, 1})
        for (const auto& e : {extent{7, 15}, extent{1, 1}, extent{36, 6}}) {
            const index_t items = e.items == 1 ? 1 : 3, mods = shared == 1 ? 1 : items;
            check_triple<B>(
                b, {.name = "modulated norm",
                    .inputs = {e, {e.features, mods}, {e.features, mods}},
                    .result = e,
                    .forward = [](B& s, A& x, view_t<B> y,
                                  update m) { nn::modulated_norm_forward<B>(s, x[0], x[1], x[2], y, m); },
                    .jvp = [](B& s, A& x, A& d, view_t<B> y,
                              update m) { nn::modulated_norm_jvp<B>(s, x[0], x[1], x[2], d[0], y, m); },
                    .vjp =
                        [e, items, mods](B& s, A& x, const_view_t<B> g, A& r, update m) {
                            nn::modulated_norm_vjp<B>(s, x[0], x[1], x[2], g, r[0], m);
                            batch<B> again(s, e.features, e.items), a(s, e.features, items), c(s, e.features, items);
                            s.copy(r[0].cview(), again.view());
                            nn::modulated_norm_vjp_params<B>(s, x[0], x[1], x[2], g, again, a, c, m);
                            if (m == update::accumulate) s.axpby(-1.0, r[0].cview(), 1.0, again.view());  // one more
                            if (m == update::overwrite) s.copy(again.cview(), r[0].view());
                            if (mods == items) {
                                s.copy(a.cview(), r[1].view());
                                s.copy(c.cview(), r[2].view());
                            } else {
                                nn::detail::row_sums<B>(s, a, r[1].flat(), update::overwrite);
                                nn::detail::row_sums<B>(s, c, r[2].flat(), update::overwrite);
                            }
                        },
                    .always_overwrites_parameters = true,
                    // Of one channel g - mean(g) is zero but for the rounding of g, times 1 / sqrt(epsilon).
                    .cancellation = e.features == 1 ? 1 / std::sqrt(nn::norm_epsilon) : 0.0});
        }
}

DIEM_TRIPLE_TEST("modulate and gated residual") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& [c, pixels, items] : {std::array<index_t, 3>{5, 12, 3}, {1, 1, 1}, {3, 4, 0}, {34, 2, 2}}) {
        const extent e{c, pixels * items}, a{c, items};
        check_triple<B>(b, {.name = "modulate",
                            .inputs = {e, a, a},
                            .result = e,
                            .tangents = 3,
                            .forward = [](B& s, A& x, view_t<B> y,
                                          update m) { nn::modulate_forward<B>(s, x[0], x[1], x[2], y, m); },
                            .jvp = [](B& s, A& x, A& d, view_t<B> y,
                                      update m) { nn::modulate_jvp<B>(s, x[0], x[1], d[0], d[1], d[2], y, m); },
                            .vjp =
                                [](B& s, A& x, const_view_t<B> g, A& r, update m) {
                                    nn::modulate_vjp<B>(s, x[1], g, r[0], m);
                                    nn::modulate_vjp_params<B>(s, x[0], g, r[1], r[2], m);
                                }});
        check_triple<B>(b, {.name = "gated residual",
                            .inputs = {e, e, a},
                            .result = e,
                            .tangents = 3,
                            .forward = [](B& s, A& x, view_t<B> y,
                                          update m) { nn::gated_residual_forward<B>(s, x[0], x[1], x[2], y, m); },
                            .jvp =
                                [](B& s, A& x, A& d, view_t<B> y, update m) {
                                    nn::gated_residual_jvp<B>(s, x[2], d[0], d[1], y, m);
                                    nn::gated_residual_jvp_gate<B>(s, x[0], x[1], x[2], d[2], y);
                                },
                            .vjp =
                                [](B& s, A& x, const_view_t<B> g, A& r, update m) {
                                    nn::gated_residual_vjp<B>(s, x[2], g, r[0], r[1], m);
                                    nn::gated_residual_vjp_params<B>(s, x[0], x[1], x[2], g, r[2], m);
                                }});
    }
}

DIEM_TRIPLE_TEST("upsample, concatenate, space to depth") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& [h, w, c, n] : {std::array<index_t, 4>{4, 3, 5, 2}, {1, 1, 1, 1}, {2, 2, 2, 0}, {3, 2, 20, 1}}) {
        const nn::image_shape s{h, w, c}, wide{2 * h, 2 * w, c};
        check_triple<B>(
            b, {.name = "upsample",
                .inputs = {{s.features(), n}},
                .result = {4 * s.features(), n},
                .forward = [s](B& e, A& x, view_t<B> y, update m) { nn::upsample_forward<B>(e, s, x[0], y, m); },
                .jvp = [s](B& e, A&, A& d, view_t<B> y, update m) { nn::upsample_jvp<B>(e, s, d[0], y, m); },
                .vjp = [s](B& e, A&, const_view_t<B> g, A& r, update m) { nn::upsample_vjp<B>(e, s, g, r[0], m); }});
        check_triple<B>(b, {.name = "space to depth",
                            .inputs = {{wide.features(), n}},
                            .result = {wide.features(), n},
                            .forward = [wide](B& e, A& x, view_t<B> y,
                                              update m) { nn::space_to_depth_forward<B>(e, wide, 2, x[0], y, m); },
                            .jvp = [wide](B& e, A&, A& d, view_t<B> y,
                                          update m) { nn::space_to_depth_jvp<B>(e, wide, 2, d[0], y, m); },
                            .vjp = [wide](B& e, A&, const_view_t<B> g, A& r,
                                          update m) { nn::space_to_depth_vjp<B>(e, wide, 2, g, r[0], m); }});
        check_triple<B>(b, {.name = "depth to space",
                            .inputs = {{wide.features(), n}},
                            .result = {wide.features(), n},
                            .forward = [wide](B& e, A& x, view_t<B> y,
                                              update m) { nn::depth_to_space_forward<B>(e, wide, 2, x[0], y, m); },
                            .jvp = [wide](B& e, A&, A& d, view_t<B> y,
                                          update m) { nn::depth_to_space_jvp<B>(e, wide, 2, d[0], y, m); },
                            .vjp = [wide](B& e, A&, const_view_t<B> g, A& r,
                                          update m) { nn::depth_to_space_vjp<B>(e, wide, 2, g, r[0], m); }});
        check_triple<B>(
            b,
            {.name = "concatenate",
             .inputs = {{c, h * w * n}, {c + 2, h * w * n}},
             .result = {2 * c + 2, h * w * n},
             .tangents = 2,
             .forward = [](B& e, A& x, view_t<B> y, update m) { nn::concatenate_forward<B>(e, x[0], x[1], y, m); },
             .jvp = [](B& e, A&, A& d, view_t<B> y, update m) { nn::concatenate_jvp<B>(e, d[0], d[1], y, m); },
             .vjp = [](B& e, A&, const_view_t<B> g, A& r, update m) { nn::concatenate_vjp<B>(e, g, r[0], r[1], m); }});
    }
}

DIEM_TRIPLE_TEST("embedding") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    for (const auto& [features, n] : {std::array<index_t, 2>{16, 9}, {4, 1}, {8, 0}})
        check_triple<B>(
            b,
            {.name = "embedding",
             .inputs = {{1, n}},
             .result = {features, n},
             .forward = [](B& s, A& x, view_t<B> y, update m) { nn::embedding_forward<B>(s, x[0], y, m); },
             .jvp = [](B& s, A& x, A& d, view_t<B> y, update m) { nn::embedding_jvp<B>(s, x[0], d[0], y, m); },
             .vjp = [](B& s, A& x, const_view_t<B> g, A& r, update m) { nn::embedding_vjp<B>(s, x[0], g, r[0], m); }});
}

DIEM_TRIPLE_TEST("attention") {
    using B = TestType;
    using A = typename triple<B>::arrays;
    auto b = make_backend<B>();
    struct test_case {
        nn::attention_shape s;
        index_t n;
    };
    for (const auto& [shape, n] : {test_case{{15, 6, 2}, 2}, test_case{{1, 1, 1}, 1}, test_case{{4, 6, 3}, 1},
                                   test_case{{4, 2, 1}, 0}, test_case{{20, 8, 1}, 3}}) {
        const nn::attention_shape s = shape;
        const extent e{s.length * s.channels, n};
        check_triple<B>(
            b, {.name = "attention",
                .inputs = {e, e, e},
                .result = e,
                .tangents = 3,
                .forward = [s](B& k, A& x, view_t<B> y,
                               update m) { nn::attention_forward<B>(k, s, x[0], x[1], x[2], y, m); },
                .jvp = [s](B& k, A& x, A& d, view_t<B> y,
                           update m) { nn::attention_jvp<B>(k, s, x[0], x[1], x[2], d[0], d[1], d[2], y, m); },
                .vjp = [s](B& k, A& x, const_view_t<B> g, A& r,
                           update m) { nn::attention_vjp<B>(k, s, x[0], x[1], x[2], g, r[0], r[1], r[2], m); }});
    }
}

TEST_CASE("kernels name what does not fit", "[nn]") {
    reference_backend<float> b;
    using B = reference_backend<float>;
    batch<B> x(b, 12, 2), y(b, 12, 2), z(b, 5, 2);
    CHECK_THROWS_AS((nn::upsample_forward<B>(b, {2, 2, 3}, x, y)), shape_error);
    CHECK_THROWS_AS((nn::linear_forward<B>(b, x, x.flat(), {}, y)), shape_error);
    CHECK_THROWS_AS((nn::modulate_forward<B>(b, x, z, z, y)), shape_error);
    CHECK_THROWS_AS((nn::attention_forward<B>(b, {2, 6, 4}, x, x, x, y)), value_error);
    CHECK_THROWS_AS((nn::dropout_forward<B>(b, 1.0, random_key{}, 0, x, y)), value_error);
    CHECK_THROWS_AS((nn::space_to_depth_forward<B>(b, {3, 4, 1}, 2, x, y)), shape_error);
    CHECK_THROWS_AS((nn::conv_forward<B>(b, {{2, 2, 3}, 3, 2, 1}, x, x.flat(), {}, y)), value_error);
}
