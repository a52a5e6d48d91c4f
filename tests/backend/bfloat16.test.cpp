// SPDX-License-Identifier: Apache-2.0
// Products with operands rounded to bfloat16: the rounding bit by bit, the sums against float64, the error of whole products.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/core/bfloat16.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::detail::eigen;
using namespace diem::test;

namespace {

using rounding = eigen_backend<float>;
constexpr double unit = 0x1p-8;  ///< largest relative error of a rounded operand

rounding rounded_backend(int threads = 1) {
    return rounding({.threads = threads, .products = product_precision::bf16});
}

/// The nearest of the two neighbours, ties to the even one; by arithmetic, not by bits of the mantissa alone.
std::uint16_t reference_bits(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    const auto value = [](std::uint32_t upper) { return double(std::bit_cast<float>(upper << 16U)); };
    const std::uint32_t down = u >> 16U, up = down + 1;
    if (std::isnan(x)) return static_cast<std::uint16_t>(down | 0x40U);
    if (std::isinf(x)) return static_cast<std::uint16_t>(down);
    // Beyond the largest finite number the next step counts, as if exponents went on.
    const double above = std::isinf(value(up)) ? std::copysign(0x1p128, x) : value(up);
    const double to_down = std::abs(double(x) - value(down)), to_up = std::abs(above - double(x));
    return static_cast<std::uint16_t>(to_down < to_up || (to_down == to_up && down % 2 == 0) ? down : up);
}
double value_of(std::uint16_t b) { return double(std::bit_cast<float>(std::uint32_t{b} << 16U)); }
float rounded_float(float x) { return float(value_of(nearest_bfloat16(x).bits)); }

std::vector<float> numbers(index_t size, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> v(static_cast<std::size_t>(size));
    for (float& e : v) e = normal(generator);
    return v;
}

/// Bit patterns around every tie of some exponents, and all that is special.
std::vector<float> hard_numbers() {
    std::vector<float> v;
    for (const std::uint32_t exponent : {0U, 1U, 2U, 126U, 127U, 128U, 253U, 254U, 255U})
        for (const std::uint32_t upper : {0U, 1U, 2U, 63U, 64U, 126U, 127U})
            for (const std::uint32_t lower : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU})
                for (const std::uint32_t sign : {0U, 1U})
                    v.push_back(std::bit_cast<float>(sign << 31U | exponent << 23U | upper << 16U | lower));
    const auto more = numbers(4096, 1);
    v.insert(v.end(), more.begin(), more.end());
    v.resize(v.size() / 32 * 32);
    return v;
}

/// Halves that the three ways to store numbers get wrong. Instructions may take numbers below 2^-126 to be zero.
template <class Q>
int wrongly_stored(bool flushes) {
    const std::vector<float> x = hard_numbers();
    constexpr index_t width = simd<float>::width;
    const auto w = std::size_t(width);
    std::vector<float> row(x.size() / 2), columns(x.size() / 2), pairs(x.size() / 2);
    for (index_t i = 0; i < index_t(x.size()); i += 2 * width) {  // two rows of a depth: even, odd
        const auto even = simd<float>::load(x.data() + i), odd = simd<float>::load(x.data() + i + width);
        Q::store_row(row.data(), i, even);
        Q::store_row(row.data(), i + width, odd);
        Q::store_columns(columns.data() + i / 2, 0, even);
        Q::store_columns(columns.data() + i / 2, 1, odd);
        Q::store_pair(pairs.data() + i / 2, even, odd);
    }
    const auto half = [](const std::vector<float>& words, std::size_t word, bool upper) {
        return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(words[word]) >> (upper ? 16U : 0U));
    };
    int wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const std::uint16_t right = reference_bits(x[i]);
        const std::uint16_t zero = std::signbit(x[i]) ? 0x8000 : 0;
        const bool tiny = flushes && std::abs(x[i]) < std::numeric_limits<float>::min();
        const std::size_t block = i / (2 * w), inside = i % (2 * w);
        for (const std::uint16_t got :
             {half(row, i / 2, i % 2 == 1), half(columns, block * w + inside % w, inside >= w),
              half(pairs, block * w + inside % w, inside >= w)})
            wrong += got != right && !(tiny && got == zero);
    }
    return wrong;
}

/// One element of C and what its error may be: see the test.
struct expected {
    double sum = 0, size = 0;
};

}  // namespace

TEST_CASE("rounding to bfloat16 is to nearest, ties to even, bit by bit", "[backend][bf16]") {
    CHECK(nearest_bfloat16(1.0F).bits == 0x3f80);
    CHECK(nearest_bfloat16(1.00390625F).bits == 0x3f80);  // 1 + 2^-8, a tie: to the even one below
    CHECK(nearest_bfloat16(1.01171875F).bits == 0x3f82);  // 1 + 3 2^-8: to the even one above
    CHECK(nearest_bfloat16(-0.0F).bits == 0x8000);
    CHECK(nearest_bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
    CHECK(nearest_bfloat16(std::numeric_limits<float>::denorm_min()).bits == 0);
    CHECK(nearest_bfloat16(std::bit_cast<float>(0x00018000U)).bits == 2);  // a tie between subnormal numbers
    CHECK(nearest_bfloat16(std::bit_cast<float>(0x7f800001U)).bits ==
          0x7fc0);  // a NaN whose upper half is that of infinity

    for (const float e : hard_numbers()) REQUIRE(nearest_bfloat16(e).bits == reference_bits(e));
    CHECK(wrongly_stored<bfloat16_factors::plain>(false) == 0);
#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS)
    if (has_bfloat16_instructions()) CHECK(wrongly_stored<bfloat16_factors::instructions>(true) == 0);
#endif
}

TEST_CASE("rounding at random gives one of the two neighbours, and the number itself on average", "[backend][bf16]") {
    for (const float x : {1.0F, 1.00390625F, -1.0001F, 3.14159274F, 1e-39F, -2.5e-40F, 3e38F}) {
        const double down = value_of(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16U));
        double sum = 0;
        for (std::uint32_t random = 0; random < 1U << 16U; ++random) {
            const double y = double(widened(stochastic_bfloat16(x, random)));
            REQUIRE(std::abs(y) >= std::abs(down));
            REQUIRE(std::abs(y - double(x)) <= std::max(std::abs(double(x)) * 0x1p-7, 0x1p-133));
            sum += y;
        }
        CHECK(sum * 0x1p-16 == double(x));  // exactly: the sum of 2^16 numbers of 8 bits
    }
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(widened(stochastic_bfloat16(-infinity, 0xffff)) == -infinity);
    CHECK(std::isnan(widened(stochastic_bfloat16(std::bit_cast<float>(0x7fffffffU), 0xffff))));
    CHECK(widened(stochastic_bfloat16(0, 0xffff)) == 0);
}

TEST_CASE("the instruction gives what two multiplications give", "[backend][bf16]") {
#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS)
    if (!has_bfloat16_instructions()) {
        WARN("SKIPPED: this processor has no AVX512-BF16");
        return;
    }
    using P = bfloat16_factors;
    constexpr index_t width = simd<float>::width;
    const auto start = numbers(width, 2), a = numbers(2048, 3), b = numbers(2048 * width, 4);
    std::vector<float> left(1024), right(1024 * width);
    for (index_t k = 0; k < 2048; k += width) P::plain::store_row(left.data(), k, simd<float>::load(a.data() + k));
    for (index_t k = 0; k < 2048; ++k)
        P::plain::store_columns(right.data() + k / 2 * width, k, simd<float>::load(b.data() + k * width));
    simd<float>::vec by_instruction = simd<float>::load(start.data()), by_two = by_instruction;
    for (index_t k = 0; k < 1024; ++k) {
        P::instructions::add(by_instruction, P::instructions::load_left(left.data() + k),
                             P::instructions::load_right(right.data() + k * width));
        P::plain::add(by_two, P::plain::load_left(left.data() + k), P::plain::load_right(right.data() + k * width));
    }
    // To the bit on AMD's Zen 5. Elsewhere an instruction may add the two products in another order: each of 2048 sums is off
    // by half a unit of the largest, at most.
    for (index_t j = 0; j < width; ++j)
        CHECK(std::abs(double(by_instruction[j]) - double(by_two[j])) <= 2 * 2048 * 0x1p-24 * 200);
#else
    WARN("SKIPPED: not compiled for AVX-512");
#endif
}

TEST_CASE("products of rounded operands are those of float64, but for the rounding of float32 sums",
          "[backend][bf16]") {
    struct shape {
        index_t m, n, k;
    };
    for (const auto& [m, n, k] : {shape{1, 1, 1}, {33, 17, 5}, {64, 40, 300}, {7, 130, 31}, {100, 97, 513}, {3, 5, 0}})
        for (const op ta : {op::none, op::transpose})
            for (const op tb : {op::none, op::transpose})
                for (const float beta : {0.0F, 1.0F, -0.5F})
                    for (const int threads : {1, 3}) {
                        CAPTURE(m, n, k, ta == op::none, tb == op::none, beta, threads);
                        auto b = rounded_backend(threads);
                        const float alpha = beta == 1 ? 1.0F : 0.3F;
                        const index_t rows_a = ta == op::none ? m : k, rows_b = tb == op::none ? k : n;
                        const auto x = numbers(m * k, 1), y = numbers(k * n, 2), z = numbers(m * n, 3);
                        auto got = z;
                        if (beta == 0) std::fill(got.begin(), got.end(), std::numeric_limits<float>::quiet_NaN());
                        b.network_gemm(alpha, host_view<const float>(x.data(), rows_a, ta == op::none ? k : m), ta,
                                       host_view<const float>(y.data(), rows_b, tb == op::none ? n : k), tb, beta,
                                       host_view<float>(got.data(), m, n));
                        double worst = 0;
                        for (index_t i = 0; i < m; ++i)
                            for (index_t j = 0; j < n; ++j) {
                                expected e;
                                for (index_t l = 0; l < k; ++l) {
                                    const double p =
                                        double(rounded_float(x[std::size_t(ta == op::none ? l * m + i : i * k + l)])) *
                                        double(rounded_float(y[std::size_t(tb == op::none ? j * k + l : l * n + j)]));
                                    e.sum += p;
                                    e.size += std::abs(p);
                                }
                                const double old = double(beta) * double(z[std::size_t(j * m + i)]);
                                const double right = double(alpha) * e.sum + (beta == 0 ? 0.0 : old);
                                // k sums, alpha, beta and the last sum: each rounds to 2^-24.
                                const double bound =
                                    double(k + 4) * 0x1p-24 * (std::abs(double(alpha)) * e.size + std::abs(old));
                                const double error = std::abs(double(got[std::size_t(j * m + i)]) - right);
                                if (!(error <= bound)) worst = std::max(worst, error / std::max(bound, 1e-300));
                                if (std::isnan(error)) worst = error;
                            }
                        CHECK(worst == 0);
                    }
}

TEST_CASE("batched products of rounded operands are those of one after another", "[backend][bf16]") {
    auto b = rounded_backend(2);
    const index_t m = 20, n = 35, k = 19, count = 5;
    const auto x = numbers(m * k * count, 1), y = numbers(k * n * count, 2);
    std::vector<float> all(std::size_t(m * n * count)), one(all);
    using from = matrix_batch<const float*>;
    b.network_gemm_batched(0.5F, from(x.data(), k, m, k, m * k, count), op::transpose,
                           from(y.data(), n, k, n, k * n, count), op::transpose, 0,
                           matrix_batch<float*>(all.data(), m, n, m, m * n, count));
    for (index_t i = 0; i < count; ++i)
        b.network_gemm(0.5F, host_view<const float>(x.data() + i * m * k, k, m), op::transpose,
                       host_view<const float>(y.data() + i * k * n, n, k), op::transpose, 0,
                       host_view<float>(one.data() + i * m * n, m, n));
    CHECK(all == one);
}

TEST_CASE("only products of networks are rounded, and float64 never", "[backend][bf16]") {
    const auto x = numbers(40 * 30, 1), y = numbers(30 * 20, 2);
    const auto product = [&](rounding& b, bool network) {
        std::vector<float> z(40 * 20);
        const host_view<const float> a(x.data(), 40, 30), c(y.data(), 30, 20);
        if (network)
            b.network_gemm(1, a, op::none, c, op::none, 0, host_view<float>(z.data(), 40, 20));
        else
            b.gemm(1, a, op::none, c, op::none, 0, host_view<float>(z.data(), 40, 20));
        return z;
    };
    rounding plain(1);
    auto b = rounded_backend();
    CHECK(plain.products() == product_precision::float32);
    CHECK(product(plain, true) == product(plain, false));
    CHECK(product(b, false) == product(plain, false));
    const double difference = relative_error(product(b, true), product(plain, true));
    CHECK(difference >= 1e-4);
    CHECK(difference <= 2 * unit);

    const std::vector<double> x64(x.begin(), x.end()), y64(y.begin(), y.end());
    eigen_backend<double> wide({.threads = 1, .products = product_precision::bf16}), exact(1);
    std::vector<double> z(40 * 20), w(40 * 20);
    const host_view<const double> a(x64.data(), 40, 30), c(y64.data(), 30, 20);
    wide.network_gemm(1, a, op::none, c, op::none, 0, host_view<double>(z.data(), 40, 20));
    exact.gemm(1, a, op::none, c, op::none, 0, host_view<double>(w.data(), 40, 20));
    CHECK(z == w);

    CHECK_THROWS_AS(rounding({.products = product_precision::tf32}), value_error);
    CHECK(product_precision_of("bf16") == product_precision::bf16);
    CHECK_THROWS_AS(product_precision_of("bfloat16"), value_error);
    static_assert(HasNetworkGemm<rounding> && HasNetworkGemm<eigen_backend<double>>);
}

namespace {

/// B', G or A of F(M, 3), from its transforms of unit vectors: squares of the rows' norms, and column by column for A.
template <int M>
struct amplification {
    using F = winograd_transform<M>;
    static constexpr int size = F::size;
    std::vector<double> input = std::vector<double>(size), kernel = std::vector<double>(size);
    std::vector<std::vector<double>> output = std::vector<std::vector<double>>(M, std::vector<double>(size));
    amplification() {
        for (int j = 0; j < size; ++j) {
            double d[size] = {}, v[size], y[M];
            d[j] = 1;
            F::template input<double>(d, v);
            for (int i = 0; i < size; ++i) input[std::size_t(i)] += v[i] * v[i];
            F::template output<double>(d, y);
            for (int i = 0; i < M; ++i) output[std::size_t(i)][std::size_t(j)] = y[i] * y[i];
        }
        for (int j = 0; j < 3; ++j) {
            double g[3] = {}, u[size];
            g[j] = 1;
            F::template kernel<double>(g, u, 1);
            for (int i = 0; i < size; ++i) kernel[std::size_t(i)] += u[i] * u[i];
        }
    }
    /// Of uncorrelated relative errors of both factors: rms error of y over rms y, for uncorrelated pixels and taps.
    [[nodiscard]] double forward() const {
        double sum = 0;
        for (const auto& row : output) {
            double s = 0;
            for (std::size_t i = 0; i < std::size_t(size); ++i) s += row[i] * input[i] * kernel[i];
            sum += s;
        }
        return sum / M / 3;
    }
};

double rms(const std::vector<double>& v) {
    double sum = 0;
    for (const double e : v) sum += e * e;
    return std::sqrt(sum / double(v.size()));
}

}  // namespace

TEST_CASE("a convolution's error with rounded factors is theirs, and what Winograd's transforms make of it",
          "[backend][bf16][conv]") {
    // An operand is off by at most half a unit in the last place, in the mean square by 1 / sqrt(3) of it: both together by
    // sqrt(2 / 3) 2^-8 of a product, which the transforms amplify. Pixels outside are zero, without error.
    const conv3x3_shape g{.items = 2, .height = 32, .width = 32, .in = 48, .out = 40};
    const auto x = numbers(g.items * g.x_step(), 1), y_bar = numbers(g.items * g.y_step(), 2),
               kernel = numbers(9 * g.in * g.out, 3);
    const auto amplified = [](conv_algorithm a) {
        return a == conv_algorithm::winograd2   ? amplification<2>().forward()
               : a == conv_algorithm::winograd4 ? amplification<4>().forward()
                                                : 1;
    };
    if (!has_tiles()) WARN("SKIPPED: this processor has no AMX");
    for (const conv_algorithm algorithm : {conv_algorithm::winograd2, conv_algorithm::winograd4, conv_algorithm::tiles})
        for (const conv_pass pass : {conv_pass::forward, conv_pass::vjp_input}) {
            const auto run = [&](product_precision products) {
                const conv_method method(algorithm, products);
                std::vector<float> w(std::size_t(conv3x3_weights_size<float>(g, pass, method))),
                    workspace(std::size_t(conv3x3_workspace_size<float>(g, pass, method)));
                conv3x3_transform_weights(g, pass, method, kernel.data(), w.data());
                std::vector<float> to(pass == conv_pass::forward ? y_bar.size() : x.size());
                if (pass == conv_pass::forward)
                    conv3x3_forward<float>(g, method, w.data(), nullptr, x.data(), to.data(), false, 0,
                                           conv3x3_units(g, pass), workspace.data());
                else
                    conv3x3_vjp_input(g, method, w.data(), y_bar.data(), to.data(), false, 0, conv3x3_units(g, pass),
                                      workspace.data());
                return std::vector<double>(to.begin(), to.end());
            };
            auto error = run(product_precision::bf16);
            const auto exact = run(product_precision::float32);
            for (std::size_t i = 0; i < error.size(); ++i) error[i] -= exact[i];
            if (algorithm == conv_algorithm::tiles && !has_tiles()) continue;
            const double most = std::sqrt(2.0 / 3) * unit * amplified(algorithm);
            CAPTURE(static_cast<int>(algorithm), pass == conv_pass::forward);
            CHECK(rms(error) / rms(exact) <= most);
            CHECK(rms(error) / rms(exact) >= most / 4);
        }
}
