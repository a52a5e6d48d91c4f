// SPDX-License-Identifier: Apache-2.0
#include <diem/mri/coil_compression.hpp>
#include <diem/mri/whitening.hpp>

#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/message.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

using complex = std::complex<double>;

mri::coil_matrix product(const mri::coil_matrix& a, const mri::coil_matrix& c) {
    mri::coil_matrix out(a.rows, c.cols);
    for (index_t r = 0; r < a.rows; ++r)
        for (index_t k = 0; k < c.cols; ++k)
            for (index_t j = 0; j < a.cols; ++j) out(r, k) += a(r, j) * c(j, k);
    return out;
}
mri::coil_matrix adjoint(const mri::coil_matrix& a) {
    mri::coil_matrix out(a.cols, a.rows);
    for (index_t r = 0; r < a.rows; ++r)
        for (index_t c = 0; c < a.cols; ++c) out(c, r) = std::conj(a(r, c));
    return out;
}
/// max |a - 1|; NaN where one is.
double from_identity(const mri::coil_matrix& a) {
    double worst = 0;
    for (index_t r = 0; r < a.rows; ++r)
        for (index_t c = 0; c < a.cols; ++c) {
            const double e = std::abs(a(r, c) - complex(r == c ? 1 : 0));
            if (!(e <= worst)) worst = e;
        }
    return worst;
}

/// Mixes three coils: invertible, complex, of very different sizes.
mri::coil_matrix mixing() {
    mri::coil_matrix m(3, 3);
    m.values = {{3, 0}, {0, 0.5}, {0.25, 0}, {1, 1}, {0.5, 0}, {0, -0.125}, {0, 0.01}, {0.02, 0}, {0.03, 0.01}};
    return m;
}

}  // namespace

TEMPLATE_TEST_CASE("mix_coils is the matrix at every frequency", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{3, 4, 3};
    const auto x = random_batch(b, size.numbers(), 2, 1);
    mri::coil_matrix m(2, 3);
    m.values = {{1, 2}, {0, -1}, {0.5, 0}, {0, 0}, {-1, 0.25}, {3, 0}};
    const auto y = to_host(b, mri::mix_coils(b, m, x.cview(), size));
    const auto from = to_host(b, x);
    std::vector<double> expected;
    for (index_t i = 0; i < 2; ++i)
        for (index_t r = 0; r < 2; ++r)
            for (index_t p = 0; p < size.pixels(); ++p) {
                complex sum = 0;
                for (index_t c = 0; c < 3; ++c) {
                    const auto at = static_cast<std::size_t>(i * size.numbers() + 2 * (c * size.pixels() + p));
                    sum += m(r, c) * complex(double(from[at]), double(from[at + 1]));
                }
                expected.push_back(sum.real());
                expected.push_back(sum.imag());
            }
    CHECK(relative_error(y, expected) <= tolerance<T>(8));
    CHECK(contains(message_of<shape_error>([&] { (void)mri::mix_coils(b, mri::coil_matrix(2, 2), x.cview(), size); }),
                   "mix_coils: the matrix's columns is 2, expected 3"));
}

TEMPLATE_TEST_CASE("whitened noise has covariance one; that of a scan is the mixing's", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t samples = 20000;
    const mri::kspace_size scan{1, samples, 3};
    // Real and imaginary parts of standard deviation 1: Psi = 2 M M^H.
    const auto noise = mri::mix_coils(b, mixing(), random_batch(b, scan.numbers(), 1, 2).cview(), scan);
    const auto found = mri::noise_of_scan<B>(b, noise.cview(), 3);
    CHECK(found.samples == samples);
    const auto expected = product(mixing(), adjoint(mixing()));
    for (index_t r = 0; r < 3; ++r)
        for (index_t c = 0; c < 3; ++c) {
            // The variance of an entry of Psi is Psi_rr Psi_cc / n; five standard deviations.
            const double scale = 2 * std::sqrt(expected(r, r).real() * expected(c, c).real());
            CHECK(std::abs(found.psi(r, c) - 2.0 * expected(r, c)) <= 5 * scale / std::sqrt(double(samples)));
        }
    CHECK(std::abs(found.sigma(0) / std::sqrt(expected(0, 0).real()) - 1) <= 5 / std::sqrt(double(samples)));

    const auto w = mri::whitening_matrix(found);
    CHECK(from_identity(product(product(w, found.psi), adjoint(w))) <= 1e-10);
    for (index_t r = 0; r < 3; ++r)
        for (index_t c = r + 1; c < 3; ++c) CHECK(w(r, c) == complex(0));  // a coil is mixed with those before it
    const auto l = mri::colouring_matrix(found);
    for (index_t r = 0; r < 3; ++r)
        for (index_t c = r + 1; c < 3; ++c) CHECK(l(r, c) == complex(0));
    // Triangular, row by row: rounding times the condition number of L, below 1e3.
    CHECK(from_identity(product(w, l)) <= tolerance<double>(1e3));
    CHECK(from_identity(product(l, w)) <= tolerance<double>(1e3));
    const auto white = mri::mix_coils(b, w, noise.cview(), scan);
    const auto again = mri::noise_of_scan<B>(b, white.cview(), 3);
    // The condition number of Psi, about 1e5, times rounding of the samples.
    CHECK(from_identity(again.psi) <= tolerance<T>(1e4));
    CHECK(std::abs(again.sigma(1) / mri::whitened_sigma - 1) <= tolerance<T>(1e4));
}

TEMPLATE_TEST_CASE("noise of the corners of k-space counts what is measured there alone", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{40, 30, 2};
    auto host = to_host(b, random_batch(b, size.numbers(), 1, 3));
    index_t counted = 0;
    std::vector<T> corners;
    for (index_t c = 0; c < 2; ++c)
        for (index_t y = 0; y < 40; ++y)
            for (index_t x = 0; x < 30; ++x) {
                T* const at = host.data() + 2 * ((c * 40 + y) * 30 + x);
                const bool corner = (y < 4 || y >= 36) && (x < 3 || x >= 27);
                if (!corner) at[0] += 1000;         // signal
                if (x % 2 == 1) at[0] = at[1] = 0;  // not measured
                if (!corner || x % 2 == 1) continue;
                counted += c == 0 ? 1 : 0;
                corners.push_back(at[0]);
                corners.push_back(at[1]);
            }
    const auto found = mri::noise_of_corners<B>(b, to_backend(b, host, size.numbers(), 1).cview(), size);
    const auto expected =
        mri::noise_of_scan<B>(b, to_backend(b, corners, static_cast<index_t>(corners.size()), 1).cview(), 2);
    CHECK(found.samples == counted);
    CHECK(found.psi.values == expected.psi.values);
}

TEMPLATE_TEST_CASE("noise at the edge is that of the frequencies far from the centre", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{40, 31, 2};
    auto host = to_host(b, random_batch(b, size.numbers(), 1, 3));
    std::vector<T> ring;
    for (index_t c = 0; c < 2; ++c)
        for (index_t y = 0; y < 40; ++y)
            for (index_t x = 0; x < 31; ++x) {
                T* const at = host.data() + 2 * ((c * 40 + y) * 31 + x);
                const double v = double(y - 20) / 20, u = double(x - 15) / 15.5;
                if (v * v + u * u < 0.64) at[0] += 1000;    // signal
                if (v * v + u * u >= 1) at[0] = at[1] = 0;  // an ellipse was measured
                if (v * v + u * u < 0.64 || v * v + u * u >= 1) continue;
                ring.push_back(at[0]);
                ring.push_back(at[1]);
            }
    const auto kspace = to_backend(b, host, size.numbers(), 1);
    const auto found = mri::noise_of_edge<B>(b, kspace.cview(), size, 0.8);
    const auto expected =
        mri::noise_of_scan<B>(b, to_backend(b, ring, static_cast<index_t>(ring.size()), 1).cview(), 2);
    CHECK(found.samples == static_cast<index_t>(ring.size()) / 4);
    CHECK(found.psi.values == expected.psi.values);
    CHECK(contains(message_of<value_error>([&] { (void)mri::noise_of_edge<B>(b, kspace.cview(), size, 1); }),
                   "its ring holds 0 measured frequencies of 2 coils"));
    CHECK(contains(message_of<value_error>([&] { (void)mri::noise_of_edge<B>(b, kspace.cview(), size, 1.5); }),
                   "radius is 1.5"));
}

TEST_CASE("whitening refuses noise that it cannot be made of", "[mri]") {
    using B = main_backend<float>;
    B b = make_backend<B>();
    const auto scan = random_batch(b, 24, 1, 4);
    CHECK(message_of<value_error>([&] { (void)mri::noise_of_scan<B>(b, scan.cview(), 6); }) ==
          "noise_of_scan: 2 samples of 6 coils, expected more");
    CHECK(contains(message_of<shape_error>([&] { (void)mri::noise_of_scan<B>(b, scan.cview(), 5); }),
                   "(a multiple of 2 x coils) is 24, expected 20"));
    auto host = to_host(b, scan);
    for (std::size_t k = 0; k < 12; ++k) host[12 + k] = host[k];  // the same coil twice
    const auto twice = mri::noise_of_scan<B>(b, to_backend(b, host, 24, 1).cview(), 2);
    CHECK(message_of<value_error>([&] { (void)mri::whitening_matrix(twice); }) ==
          "whitening_matrix: the noise covariance is not positive definite: coil 1 has no noise of its own");
    CHECK(message_of<value_error>([&] { (void)mri::colouring_matrix(twice); }) ==
          "colouring_matrix: the noise covariance is not positive definite: coil 1 has no noise of its own");
    host[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK(contains(
        message_of<value_error>([&] { (void)mri::noise_of_scan<B>(b, to_backend(b, host, 24, 1).cview(), 2); }),
        "not finite"));
    batch<B> nothing(b, 2 * 2 * 20 * 20, 1);
    b.fill(nothing.view(), 0);
    CHECK(contains(message_of<value_error>([&] {
                       (void)mri::noise_of_corners<B>(b, nothing.cview(), {20, 20, 2});
                   }),
                   "the corners hold 0 measured frequencies of 2 coils"));
}

TEMPLATE_TEST_CASE("coil compression keeps what the coils have in common", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    // Two images behind five coils: two virtual coils hold all of it.
    const mri::kspace_size two{6, 5, 2}, five{6, 5, 5};
    mri::coil_matrix spread(5, 2);
    for (index_t c = 0; c < 5; ++c)
        for (index_t k = 0; k < 2; ++k) spread(c, k) = std::polar(1 + 0.3 * double(c), double(c * (k + 1)));
    const auto kspace = mri::mix_coils(b, spread, random_batch(b, two.numbers(), 2, 5).cview(), two);
    const auto found = mri::compress_coils<B>(b, kspace.cview(), five, 2);
    CHECK(found.matrix.rows == 2);
    CHECK(found.matrix.cols == 5);
    CHECK(found.energies.size() == 5);
    CHECK(from_identity(product(found.matrix, adjoint(found.matrix))) <= 1e-12);
    CHECK(std::abs(found.kept() - 1) <= tolerance<T>(20));
    const auto fewer = mri::mix_coils(b, found.matrix, kspace.cview(), five);
    const auto back = mri::mix_coils(b, adjoint(found.matrix), fewer.cview(), two);
    CHECK(relative_error(to_host(b, back), to_host(b, kspace)) <= tolerance<T>(50));

    const auto one = mri::compress_coils<B>(b, kspace.cview(), five, 1);
    double total = 0;
    for (const double e : one.energies) total += e;
    CHECK(one.kept() == one.energies[0] / total);
    CHECK(one.kept() < 1);
    // The energy that is kept is that of the virtual coil.
    const auto virtual_coil = to_host(b, mri::mix_coils(b, one.matrix, kspace.cview(), five));
    double energy = 0;
    for (const T v : virtual_coil) energy += double(v) * double(v);
    CHECK(std::abs(energy / one.energies[0] - 1) <= tolerance<T>(50));
    CHECK(contains(message_of<value_error>([&] { (void)mri::compress_coils<B>(b, kspace.cview(), five, 6); }),
                   "virtual_coils is 6, expected 1 .. 5"));
}

TEST_CASE("coil compression of coils alike in energy still has orthonormal rows", "[mri]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    const index_t coils = GENERATE(1, 2, 7);
    const mri::kspace_size size{1, coils, coils};
    std::vector<double> host(static_cast<std::size_t>(size.numbers()), 0);
    const bool zero = GENERATE(false, true);
    if (!zero)
        for (index_t c = 0; c < coils; ++c) host[static_cast<std::size_t>(2 * (c * coils + c) + c % 2)] = 2;
    const auto found = mri::compress_coils<B>(b, to_backend(b, host, size.numbers(), 1).cview(), size, coils);
    CHECK(from_identity(product(found.matrix, adjoint(found.matrix))) <= 1e-12);
    CHECK(found.kept() == 1);
    for (const double e : found.energies) CHECK(std::abs(e - (zero ? 0 : 4)) <= 1e-12);
}
