// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs stb (Debian: libstb-dev), which the library itself does not depend on: <diem/diem.hpp> leaves this header out.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#if !defined(INCLUDE_STB_IMAGE_WRITE_H)
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define DIEM_STB_INCLUDED
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#include <stb/stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#if defined(DIEM_STB_INCLUDED)
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef DIEM_STB_INCLUDED
#endif

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>

namespace diem::io {

/// Writes an image (height, width, channels) of bytes as PNG, atomically: 1 channel grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha.
/// Throws shape_error for another shape, io_error where the file cannot be written.
inline void save_png(const std::filesystem::path& path, const array<std::uint8_t>& image) {
    const shape_type& shape = image.shape;
    constexpr index_t most = 1 << 30;  // the encoder counts in int
    if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[2] < 1 || shape[2] > 4 || shape[0] > most ||
        shape[1] > most || shape[1] * shape[2] + 1 > most / shape[0])
        throw shape_error("save_png: image is " + to_string(shape) +
                          ", expected [height, width, 1 to 4 channels] of less than 2^30 bytes");
    check_size("save_png", "bytes", image.size(), element_count(shape));
    int length = 0;
    const std::unique_ptr<unsigned char, decltype(&std::free)> bytes(
        stbi_write_png_to_mem(image.data.data(), static_cast<int>(shape[1] * shape[2]), static_cast<int>(shape[1]),
                              static_cast<int>(shape[0]), static_cast<int>(shape[2]), &length),
        &std::free);
    if (bytes == nullptr) throw io_error(path.string() + ": PNG encoder failed");
    write_atomically(path, std::as_bytes(std::span(bytes.get(), static_cast<std::size_t>(length))));
}

}  // namespace diem::io
