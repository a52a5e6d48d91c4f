// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <diem/algorithms.hpp>
#include <diem/io/any_kspace.hpp>

#include "support/numpy_random.hpp"

/// Measured k-space of several coils: what is known of it, what is hidden to judge by, and how an image is measured again.
namespace measured {

using diem::Backend;
using diem::batch;
using diem::const_view_t;
using diem::index_t;
using diem::view_t;

/// k-space (coils, height, width, 2), and 1 where it was measured, else 0: (height, width).
struct slice {
    diem::mri::kspace_size size;
    std::vector<float> kspace, mask;
};

/// Of one slice: see `diem::io::load_kspace`; an array is complex (coils, height, width), zero where nothing was measured. Throws
/// io_error, value_error (several slices).
[[nodiscard]] inline slice load(const std::filesystem::path& path) {
    auto k = diem::io::load_kspace(path, diem::io::third_axis::coils);
    diem::check_value("mri", k.slices() == 1,
                      path.string() + ": holds " + std::to_string(k.slices()) + " slices, expected one");
    diem::io::clear_unmeasured(k.values, k.measured, path.string());
    slice s{{k.height(), k.width(), k.coils()}, diem::io::as_pairs(k.values).data, {}};
    for (index_t y = 0; y < s.size.height; ++y)
        for (index_t x = 0; x < s.size.width; ++x)
            s.mask.push_back(diem::io::is_measured(k.measured, 0, y, x) ? 1.0F : 0.0F);
    return s;
}

/// Measured positions in two parts: those that a reconstruction may see, and those that judge it.
struct split {
    std::vector<float> kept, hidden;
};

/// Hides a tenth of the measured positions, all outside the `centre` x `centre` middle: the first of
/// numpy.random.RandomState(seed).permutation.
[[nodiscard]] inline split hide_tenth(const slice& s, std::uint32_t seed, index_t centre) {
    std::vector<std::size_t> outside;
    std::size_t measured = 0;
    const index_t top = s.size.height / 2 - centre / 2, left = s.size.width / 2 - centre / 2;
    for (index_t y = 0; y < s.size.height; ++y)
        for (index_t x = 0; x < s.size.width; ++x) {
            const auto at = static_cast<std::size_t>(y * s.size.width + x);
            if (s.mask[at] == 0) continue;
            ++measured;
            if (y < top || y >= top + centre || x < left || x >= left + centre) outside.push_back(at);
        }
    split parts{s.mask, std::vector<float>(s.mask.size())};
    const auto order = support::numpy_permutation(seed, static_cast<index_t>(outside.size()));
    for (std::size_t k = 0; k < std::min(measured / 10, order.size()); ++k) {
        const std::size_t at = outside[static_cast<std::size_t>(order[k])];
        parts.kept[at] = 0;
        parts.hidden[at] = 1;
    }
    return parts;
}

struct problem_options {
    double noise_radius = 0.9;  ///< of `diem::mri::noise_of_edge`
    diem::mri::espirit_options maps{};
};

/// What is to be solved: whitened k-space of the kept positions, y = mask F S x + e, with the coils' maps S of whitened
/// k-space and e of standard deviation `diem::mri::whitened_sigma` in real and imaginary parts; x in the same units.
template <Backend B>
struct problem {
    slice data;
    split parts;
    diem::mri::noise_covariance noise;
    diem::mri::coil_matrix colour;  ///< from whitened coils to the measured ones
    batch<B> y;
    diem::linop::sense<B> a, everywhere;  ///< the mask; all of k-space

    /// The k-space of an image x, (coils, height, width, 2) of the coils as they were measured.
    [[nodiscard]] batch<B> measure(B& b, const_view_t<B> x) const {
        batch<B> k(b, everywhere.rows(), x.items());
        everywhere.apply(b, x, k.view());
        return diem::mri::mix_coils<B>(b, colour, k.cview(), data.size);
    }
    /// x times a factor, and zero outside of the maps.
    void visible(B& b, view_t<B> x, double factor) const {
        batch<B> part(b, x.features(), 1);
        for (index_t i = 0; i < x.items(); ++i) {
            everywhere.apply_normal(b, const_view_t<B>(x.item_range(i, 1)), part.view());
            b.axpby(factor, part.cview(), 0.0, x.item_range(i, 1));
        }
    }
};

template <Backend B>
[[nodiscard]] problem<B> pose(B& b, slice s, split parts, const problem_options& o = {}) {
    using values = diem::linop::common_or_each<B>;
    const auto& size = s.size;
    std::vector<float> seen = s.kspace;
    for (std::size_t k = 0; k < seen.size(); ++k) seen[k] *= parts.kept[k / 2 % parts.kept.size()];
    const auto kept = to_backend(b, seen, size.numbers(), 1);
    auto noise = diem::mri::noise_of_edge<B>(b, kept.cview(), size, o.noise_radius);
    auto y = diem::mri::mix_coils<B>(b, diem::mri::whitening_matrix(noise), kept.cview(), size);
    const auto maps = std::make_shared<const batch<B>>(diem::mri::espirit<B>(b, y.cview(), size, o.maps));
    const auto with = [&](const std::vector<float>& mask) {
        batch<B> copy(b, size.numbers(), 1);
        b.copy(maps->view(), copy.view());
        return diem::linop::sense<B>(b, size.height, size.width, values::shared(to_backend(b, mask, size.pixels(), 1)),
                                     values::shared(std::move(copy)));
    };
    auto a = with(parts.kept), everywhere = with(std::vector<float>(parts.kept.size(), 1.0F));
    auto colour = diem::mri::colouring_matrix(noise);
    return {std::move(s), std::move(parts), std::move(noise),     std::move(colour),
            std::move(y), std::move(a),     std::move(everywhere)};
}

/// ||k - k_measured|| / ||k_measured|| over the positions where `where` is 1.
[[nodiscard]] inline double relative_error(const std::vector<float>& k, const slice& s,
                                           const std::vector<float>& where) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < s.kspace.size(); ++i) {
        if (where[i / 2 % where.size()] == 0) continue;
        const double truth = s.kspace[i], d = k[i] - truth;
        error += d * d;
        norm += truth * truth;
    }
    return std::sqrt(error / norm);
}

/// The relative error that the noise alone would leave an image that is right.
[[nodiscard]] inline double noise_share(const slice& s, const diem::mri::noise_covariance& noise,
                                        const std::vector<float>& where) {
    double variance = 0, norm = 0, count = 0;
    for (index_t c = 0; c < s.size.coils; ++c) variance += noise.psi(c, c).real();
    for (std::size_t i = 0; i < s.kspace.size(); ++i)
        if (where[i / 2 % where.size()] != 0) norm += static_cast<double>(s.kspace[i]) * s.kspace[i];
    for (const float w : where) count += w;
    return std::sqrt(count * variance / norm);
}

/// x = argmin |y - A x|^2 + lambda |x|^2 by conjugate gradients.
template <Backend B>
void cg_sense(B& b, const problem<B>& p, double lambda, index_t iterations, view_t<B> x) {
    const auto normal = diem::linop::sum(diem::linop::normal(p.a), diem::linop::scaling(p.a.cols(), lambda));
    batch<B> rhs(b, p.a.cols(), 1);
    p.a.apply_adjoint(b, p.y.cview(), rhs.view());
    diem::solver::cg(b, normal, rhs.cview(), x, {.max_iterations = iterations, .relative_tolerance = 1e-6});
}

/// The magnitudes of complex images, and what `share` of them does not exceed.
[[nodiscard]] inline std::vector<float> magnitudes(const std::vector<float>& x) {
    std::vector<float> m(x.size() / 2);
    for (std::size_t k = 0; k < m.size(); ++k) m[k] = std::hypot(x[2 * k], x[2 * k + 1]);
    return m;
}
[[nodiscard]] inline double quantile(std::vector<float> values, double share) {
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

}  // namespace measured
