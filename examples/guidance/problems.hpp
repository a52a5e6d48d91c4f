// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/image.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>

#include "guidance/program.hpp"
#include "support/any_operator.hpp"

namespace guidance {

using namespace diem;

inline constexpr linop::image_extent extent{32, 32, 3};

/// Images that were observed, each by an operator of its own where that makes sense, with their truth.
template <Backend B>
struct problem {
    std::string name;
    support::any_operator<B> forward;
    linop::isotropic_covariance noise;
    batch<B> y;      ///< rows x items
    batch<B> shown;  ///< y as an image: hidden pixels and what lies between pixels filled in without a prior

    [[nodiscard]] auto observed(B& b) const { return posterior::observe(b, y.cview(), forward, noise); }
};

namespace detail {
/// A motion of its own direction for each item.
template <Backend B>
[[nodiscard]] support::any_operator<B> motions(B& b, const random_key& key, double length, index_t items) {
    const auto size = static_cast<index_t>(2 * std::ceil(length / 2)) + 3;
    std::vector<scalar_t<B>> kernels;
    for (index_t i = 0; i < items; ++i) {
        const double degrees = 180 * uniform<double>(key, static_cast<std::uint32_t>(i), 0);
        for (const double w : linop::motion_kernel(size, length, degrees))
            kernels.push_back(static_cast<scalar_t<B>>(w));
    }
    const auto k = to_backend(b, kernels, size * size, items);
    return linop::convolution<B>::per_item(b, extent, k.cview(), size, size, linop::border::reflect);
}
}  // namespace detail

/// truth: 3072 x items. `number`: keeps the random numbers of the problems apart.
template <Backend B>
[[nodiscard]] problem<B> observe(B& b, const problem_settings& p, const_view_t<B> truth, std::uint64_t seed,
                                 std::uint32_t number) {
    const index_t n = truth.items();
    const random_key key{.seed = seed, .lane = random_lane::user + 2 * number};
    const auto masked = [&](const auto& draw) {
        batch<B> values(b, extent.size(), n);
        draw(values.view());
        return support::any_operator<B>(linop::mask<B>::per_item(std::move(values)));
    };
    auto forward = [&] {
        if (p.type == "box")
            return masked([&](view_t<B> v) { linop::draw_box_mask(b, key, extent, p.size, p.size, v); });
        if (p.type == "random")
            return masked([&](view_t<B> v) { linop::draw_mask(b, key, p.keep, extent.channels, v); });
        if (p.type == "motion") return detail::motions(b, key, static_cast<double>(p.size), n);
        return support::any_operator<B>(linop::downsample(b, extent, p.size, p.size, linop::filter::bicubic));
    }();
    const linop::isotropic_covariance noise(forward.rows(), p.sigma_y * p.sigma_y);
    batch<B> y(b, forward.rows(), n), shown(b, extent.size(), n);
    posterior::simulate(b, forward, noise, truth, key.with_lane(key.lane + 1), y.view());
    if (p.type == "motion")
        b.copy(y.cview(), shown.view());
    else
        forward.apply_adjoint(b, y.cview(), shown.view());
    if (p.type == "super_resolution") b.axpby(0.0, shown.cview(), static_cast<double>(p.size * p.size), shown.view());
    return {p.type, std::move(forward), noise, std::move(y), std::move(shown)};
}

}  // namespace guidance
