// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <diem/algorithms.hpp>

#include "support/numpy_random.hpp"

/// Measured k-space of several coils: what is known of it, what is hidden to judge by, and reconstructions.
namespace mri {

using diem::index_t;

/// k-space (coils, height, width, 2), and 1 where it was measured, else 0: (height, width).
struct measurement {
    index_t coils = 0, height = 0, width = 0;
    std::vector<float> kspace, mask;

    [[nodiscard]] index_t pixels() const { return height * width; }
    [[nodiscard]] index_t rows() const { return 2 * coils * pixels(); }
};

[[nodiscard]] inline measurement load_measurement(const std::filesystem::path& path) {
    auto file = diem::io::load_npy_numbers<float>(path);
    const auto& shape = file.values.shape;
    diem::check_value("mri", file.complex && shape.size() == 4,
                      path.string() + ": expected complex k-space of shape (coils, height, width)");
    measurement m{shape[0], shape[1], shape[2], std::move(file.values.data), {}};
    m.mask.assign(static_cast<std::size_t>(m.pixels()), 0.0F);
    const auto pixels = static_cast<std::size_t>(m.pixels());
    for (std::size_t k = 0; k < m.kspace.size(); ++k)
        if (m.kspace[k] != 0) m.mask[k / 2 % pixels] = 1;
    return m;
}

/// Measured positions in two parts: those that a reconstruction may see, and those that judge it.
struct split {
    std::vector<float> kept, hidden;
};

/// Hides a tenth of the measured positions outside the `centre` x `centre` middle, drawn as
/// numpy.random.RandomState(seed).permutation.
[[nodiscard]] inline split hide_tenth(const measurement& m, std::uint32_t seed, index_t centre = 24) {
    std::vector<std::size_t> outside;
    std::size_t measured = 0;
    const index_t top = m.height / 2 - centre / 2, left = m.width / 2 - centre / 2;
    for (index_t y = 0; y < m.height; ++y)
        for (index_t x = 0; x < m.width; ++x) {
            const auto at = static_cast<std::size_t>(y * m.width + x);
            if (m.mask[at] == 0) continue;
            ++measured;
            if (y < top || y >= top + centre || x < left || x >= left + centre) outside.push_back(at);
        }
    split s{m.mask, std::vector<float>(m.mask.size())};
    const auto order = support::numpy_permutation(seed, static_cast<index_t>(outside.size()));
    for (std::size_t k = 0; k < std::min(measured / 10, order.size()); ++k) {
        const std::size_t at = outside[static_cast<std::size_t>(order[k])];
        s.kept[at] = 0;
        s.hidden[at] = 1;
    }
    return s;
}

/// ||k - k_measured|| / ||k_measured|| over the positions where `where` is 1; both (coils, height, width, 2).
[[nodiscard]] inline double relative_error(const std::vector<float>& k, const measurement& m,
                                           const std::vector<float>& where) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < m.kspace.size(); ++i) {
        if (where[i / 2 % where.size()] == 0) continue;
        const double truth = m.kspace[i], d = k[i] - truth;
        error += d * d;
        norm += truth * truth;
    }
    return std::sqrt(error / norm);
}

/// The operator mask F S of coils `maps` (coils, height, width, 2), for any number of images.
template <diem::Backend B>
[[nodiscard]] diem::linop::sense<B> sense_of(B& b, const measurement& m, const std::vector<float>& mask,
                                             const std::vector<float>& maps) {
    using values = diem::linop::common_or_each<B>;
    return {m.height, m.width, values::shared(to_backend(b, mask, m.pixels(), 1)),
            values::shared(to_backend(b, maps, m.rows(), 1))};
}

/// x = argmin |y - A x|^2 + lambda |x|^2, by conjugate gradients; y and x one item each.
template <diem::Backend B>
void cg_sense(B& b, const diem::linop::sense<B>& a, diem::const_view_t<B> y, double lambda, index_t iterations,
              diem::view_t<B> x) {
    const auto normal = diem::linop::make_symmetric_operator(
        a.cols(), diem::linop::any_items, [&](B& on, diem::const_view_t<B> in, diem::view_t<B> out) {
            diem::batch<B> k(on, a.rows(), in.items());
            a.apply(on, in, k.view());
            a.apply_adjoint(on, k.cview(), out);
            on.axpby(lambda, in, 1.0, out);
        });
    diem::batch<B> rhs(b, a.cols(), y.items());
    a.apply_adjoint(b, y, rhs.view());
    diem::solver::cg(b, normal, rhs.cview(), x, {.max_iterations = iterations, .relative_tolerance = 1e-6});
}

}  // namespace mri
