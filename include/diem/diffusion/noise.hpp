// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>

/// \file
/// Where a sampler's standard normals come from.
/// \snippet tests/examples/diffusion.cpp diffusion/noise.hpp

namespace diem::diffusion {

/// `draw(b, lane, index, z)` fills z (features x items) with draw `index` of purpose `lane` (of `random_lane`):
/// - sampler_start 0: x_1;
/// - sampler_noise i: step i;
/// - corrector_noise i * corrections + c: correction c of step i.
template <class N, class B>
concept NoiseSource = Backend<B> && requires(const N& noise, B& b, std::uint32_t lane, index_t index, view_t<B> z) {
    noise.draw(b, lane, index, z);
};

/// From the counter-based generator, keyed by (key.seed, lane, key.step + index, item): any split of a batch draws the
/// same numbers if each part has `key.skip_items(first item)`.
struct random_noise {
    random_key key;
    template <Backend B>
    void draw(B& b, std::uint32_t lane, index_t index, view_t<B> z) const {
        b.fill_normal(key.with_lane(lane).with_step(key.step + static_cast<std::uint32_t>(index)), z);
    }
};

/// From given arrays: draw `index` is items index * n .. of the lane's array, n the items of the batch. Used to compare with
/// runs made elsewhere. Throws shape_error beyond the end of an array.
template <Backend B>
struct given_noise {
    const_view_t<B> start, step, correction;
    void draw(B& b, std::uint32_t lane, index_t index, view_t<B> z) const {
        const const_view_t<B>& from = lane == random_lane::sampler_start   ? start
                                      : lane == random_lane::sampler_noise ? step
                                                                           : correction;
        check_size("given_noise", "features", from.features(), z.features());
        if ((index + 1) * z.items() > from.items())
            diem::detail::throw_size("given_noise", "number of draws", from.items() / z.items(), index + 1);
        b.copy(from.item_range(index * z.items(), z.items()), z);
    }
};

}  // namespace diem::diffusion
