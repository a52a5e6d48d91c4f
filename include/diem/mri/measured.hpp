// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <diem/mri/kspace.hpp>

/// \file
/// Which frequencies were measured, by their zeros.
/// \snippet tests/examples/mri.cpp mri/measured.hpp

namespace diem::mri {

namespace detail {
/// 1 where a coil's number is not zero. Index: (item, frequency).
struct mark_measured {
    index_t pixels, coils, k_stride, m_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* kspace, T* mask) const {
        const index_t item = i / pixels, at = i - item * pixels;
        bool found = false;
        for (index_t c = 0; c < coils && !found; ++c) {
            const T* const v = kspace + item * k_stride + 2 * (c * pixels + at);
            found = v[0] != 0 || v[1] != 0;
        }
        mask[item * m_stride + at] = found ? T(1) : T(0);
    }
};

/// Frequency of the first corner of the square of that side in the centre.
[[nodiscard]] inline index_t centre_corner(const kspace_size& size, index_t side) {
    return (size.height / 2 - side / 2) * size.width + size.width / 2 - side / 2;
}
/// How many ones are in the square of that side in the centre.
template <class T>
[[nodiscard]] index_t count_in_centre(const std::vector<T>& mask, const kspace_size& size, index_t side) {
    index_t count = 0;
    for (index_t y = 0; y < side; ++y) {
        const auto row = mask.begin() + centre_corner(size, side) + y * size.width;
        count += static_cast<index_t>(std::count(row, row + side, T(1)));
    }
    return count;
}
}  // namespace detail

/// The mask of k-space whose unmeasured frequencies are zero: (height, width) an item, 1 where any coil is not exactly zero.
template <Backend B>
[[nodiscard]] batch<B> measured_mask(B& b, const_view_t<B> kspace, const kspace_size& size) {
    detail::check_kspace("measured_mask", size, kspace);
    batch<B> mask(b, size.pixels(), kspace.items());
    b.launch(size.pixels() * kspace.items(), 2 * size.coils,
             detail::mark_measured{size.pixels(), size.coils, kspace.stride(), mask.view().stride()}, kspace.data(),
             mask.view().data());
    return mask;
}

/// Side of the largest square in the centre that is measured in every item, 0 where not even the zero frequency is.
template <Backend B>
[[nodiscard]] index_t calibration_width(B& b, const_view_t<B> kspace, const kspace_size& size) {
    index_t width = std::min(size.height, size.width);
    const auto mask = measured_mask<B>(b, kspace, size);
    for (index_t i = 0; i < kspace.items(); ++i) {
        const auto host = to_host(b, mask.cview().item_range(i, 1));
        index_t side = 0;  // squares hold the smaller ones
        while (side < width && detail::count_in_centre(host, size, side + 1) == (side + 1) * (side + 1)) ++side;
        width = side;
    }
    return kspace.items() > 0 ? width : 0;
}

}  // namespace diem::mri
