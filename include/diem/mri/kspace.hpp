// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/data.hpp>

/// \file
/// What comes before a reconstruction from accelerated measurements of magnetic resonance. K-space of one slice is (coils,
/// height, width, 2), the last axis (re, im): an item of a batch. The transform is centred and orthonormal (linop/fourier.hpp):
/// zero frequency and origin of the image are at (height / 2, width / 2), rounded down.
/// \snippet tests/examples/mri.cpp mri/kspace.hpp

namespace diem::mri {

/// Extent of the k-space of a slice.
struct kspace_size {
    index_t height = 0, width = 0, coils = 1;
    [[nodiscard]] constexpr index_t pixels() const { return height * width; }
    /// Of an item.
    [[nodiscard]] constexpr index_t numbers() const { return 2 * coils * height * width; }
};

namespace detail {

/// Throws value_error where an extent is below 1, shape_error where an item of `kspace` has another size.
template <class Pointer>
void check_kspace(std::string_view where, const kspace_size& size, const batch_view<Pointer>& kspace) {
    check_value(where, size.height >= 1 && size.width >= 1 && size.coils >= 1,
                "k-space is " + std::to_string(size.coils) + " coils of " + std::to_string(size.height) + " x " +
                    std::to_string(size.width) + ", expected at least 1 each");
    const index_t extents[] = {2, size.coils, size.height, size.width};
    check_size(where, "kspace.features() (2 x coils x height x width)", kspace.features(),
               checked_product(where, "2 x coils x height x width", extents));
}

}  // namespace detail

}  // namespace diem::mri
