// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <string>
#include <vector>

#include <diem/mri/coil_matrix.hpp>
#include <diem/mri/measured.hpp>

/// \file
/// The noise of the coils, and how to make it white.
/// \snippet tests/examples/mri.cpp mri/whitening.hpp

namespace diem::mri {

/// The noise of every coil: complex, Gaussian, with covariance Psi = E[n n^H], whose real and imaginary parts have half of it
/// each. In squared units of k-space.
struct noise_covariance {
    coil_matrix psi;
    index_t samples = 0;  ///< that it was estimated from
    /// Standard deviation of the real part (and of the imaginary one) of a coil.
    [[nodiscard]] double sigma(index_t coil) const { return std::sqrt(psi(coil, coil).real() / 2); }
};

/// Standard deviation of the real part, and of the imaginary part, of whitened noise: sigma_y of whitened k-space.
inline constexpr double whitened_sigma = std::numbers::sqrt2 / 2;

/// Psi = N N^H / (n - 1) of a noise scan N, (coils, n, 2): n samples without signal, of zero mean, as the scanner gives them.
/// Throws shape_error where `noise` is not one item of a multiple of 2 coils numbers; value_error where it has no more samples
/// than coils, or is not finite.
template <Backend B>
[[nodiscard]] noise_covariance noise_of_scan(B& b, const_view_t<B> noise, index_t coils) {
    check_value("noise_of_scan", coils >= 1, "coils is " + std::to_string(coils) + ", expected at least 1");
    check_size("noise_of_scan", "noise.items()", noise.items(), 1);
    const index_t samples = noise.features() / (2 * coils);
    check_size("noise_of_scan", "noise.features() (a multiple of 2 x coils)", noise.features(), 2 * coils * samples);
    check_value("noise_of_scan", samples > coils,
                std::to_string(samples) + " samples of " + std::to_string(coils) + " coils, expected more");
    linop::check_entries<linop::finite_entry>("noise_of_scan", b, "noise", noise);
    noise_covariance out{detail::gram(b, noise, coils), samples};
    for (auto& v : out.psi.values) v /= static_cast<double>(samples - 1);
    return out;
}

namespace detail {
/// Of the measured frequencies of one slice where keep(y, x); `which` says where these are.
template <Backend B, class Keep>
noise_covariance noise_where(const char* function, const char* which, B& b, const_view_t<B> kspace,
                             const kspace_size& size, const Keep& keep) {
    check_kspace(function, size, kspace);
    check_size(function, "kspace.items()", kspace.items(), 1);
    const auto host = to_host(b, kspace);
    const auto mask = to_host(b, measured_mask<B>(b, kspace, size));
    std::vector<index_t> places;
    for (index_t y = 0; y < size.height; ++y)
        for (index_t x = 0; x < size.width; ++x)
            if (keep(y, x) && mask[static_cast<std::size_t>(y * size.width + x)] == 1)
                places.push_back(y * size.width + x);
    const auto n = static_cast<index_t>(places.size());
    if (n <= size.coils)
        throw value_error(std::string(function) + ": " + which + " " + std::to_string(n) + " measured frequencies of " +
                          std::to_string(size.coils) + " coils, expected more");
    std::vector<scalar_t<B>> noise;
    noise.reserve(static_cast<std::size_t>(2 * size.coils * n));
    for (index_t c = 0; c < size.coils; ++c)
        for (const index_t p : places)
            for (index_t k = 0; k < 2; ++k)
                noise.push_back(host[static_cast<std::size_t>(2 * (c * size.pixels() + p) + k)]);
    return noise_of_scan<B>(b, to_backend(b, noise, 2 * size.coils * n, 1).cview(), size.coils);
}
}  // namespace detail

/// The same where there is no noise scan: from the four corners of k-space of one slice, each height / `part` x width / `part`,
/// where the signal is smallest. Frequencies that are zero in all coils are not measured and not counted. What signal there is adds
/// to the estimate: it is an upper bound.
/// Throws as `noise_of_scan`, and value_error where `part` is below 2.
template <Backend B>
[[nodiscard]] noise_covariance noise_of_corners(B& b, const_view_t<B> kspace, const kspace_size& size,
                                                index_t part = 10) {
    check_value("noise_of_corners", part >= 2, "part is " + std::to_string(part) + ", expected at least 2");
    const index_t h = std::max<index_t>(1, size.height / part), w = std::max<index_t>(1, size.width / part);
    return detail::noise_where("noise_of_corners", "the corners hold", b, kspace, size, [&](index_t y, index_t x) {
        return (y < h || y >= size.height - h) && (x < w || x >= size.width - w);
    });
}
/// The same where the corners were not measured: from frequencies at least `radius` away from the centre, 1 being the ellipse
/// that touches the edges. It holds more signal than the corners. Throws as they do; value_error where `radius` is not in
/// (0, sqrt(2)).
template <Backend B>
[[nodiscard]] noise_covariance noise_of_edge(B& b, const_view_t<B> kspace, const kspace_size& size,
                                             double radius = 0.9) {
    check_value("noise_of_edge", radius > 0 && radius < std::numbers::sqrt2,
                "radius is " + std::to_string(radius) + ", expected more than 0 and less than sqrt(2)");
    const auto away = [](index_t k, index_t n) {
        return static_cast<double>(k - n / 2) / (static_cast<double>(n) / 2);
    };
    return detail::noise_where("noise_of_edge", "its ring holds", b, kspace, size, [&](index_t y, index_t x) {
        const double v = away(y, size.height), u = away(x, size.width);
        return v * v + u * u >= radius * radius;
    });
}

namespace detail {
/// L of Psi = L L^H. Throws value_error, beginning with `function`.
[[nodiscard]] inline coil_matrix noise_factor(const char* function, const noise_covariance& noise) {
    const coil_matrix& psi = noise.psi;
    const index_t n = psi.rows;
    check_size(function, "columns of the covariance", psi.cols, n);
    coil_matrix l(n, n);
    for (index_t j = 0; j < n; ++j) {
        double d = psi(j, j).real();
        for (index_t k = 0; k < j; ++k) d -= std::norm(l(j, k));
        // A pivot of rounding alone: this coil's noise is a combination of those of the coils before it.
        check_value(
            function, d > 1e-12 * psi(j, j).real() && std::isfinite(d),
            "the noise covariance is not positive definite: coil " + std::to_string(j) + " has no noise of its own");
        l(j, j) = std::sqrt(d);
        for (index_t i = j + 1; i < n; ++i) {
            auto sum = psi(i, j);
            for (index_t k = 0; k < j; ++k) sum -= l(i, k) * std::conj(l(j, k));
            l(i, j) = sum / l(j, j).real();
        }
    }
    return l;
}
}  // namespace detail

/// L, lower triangular, of Psi = L L^H: the way back from whitened coils to the measured ones, and from white noise to the coils'.
/// Throws value_error where Psi is not positive definite, naming the coil.
[[nodiscard]] inline coil_matrix colouring_matrix(const noise_covariance& noise) {
    return detail::noise_factor("colouring_matrix", noise);
}

/// W = L^-1, Psi = L L^H: the coils W k have noise of covariance 1, which is 1/2 in real and in imaginary parts (see
/// `whitened_sigma`). Apply it by `mix_coils` to k-space before the maps are made, and everything after is whitened.
/// Throws value_error where Psi is not positive definite, naming the coil.
[[nodiscard]] inline coil_matrix whitening_matrix(const noise_covariance& noise) {
    const coil_matrix l = detail::noise_factor("whitening_matrix", noise);
    const index_t n = l.rows;
    coil_matrix w(n, n);
    for (index_t c = 0; c < n; ++c)  // L w = e_c
        for (index_t i = c; i < n; ++i) {
            std::complex<double> sum = i == c ? 1 : 0;
            for (index_t k = c; k < i; ++k) sum -= l(i, k) * w(k, c);
            w(i, c) = sum / l(i, i).real();
        }
    return w;
}

}  // namespace diem::mri
