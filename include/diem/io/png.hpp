// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs stb (Debian: libstb-dev), which the library itself does not depend on: <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#if !defined(INCLUDE_STB_IMAGE_WRITE_H)
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define DIEM_STB_INCLUDED
#endif
#if !defined(STBI_INCLUDE_STB_IMAGE_H)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define DIEM_STB_READER_INCLUDED
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#endif
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#if defined(DIEM_STB_INCLUDED)
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef DIEM_STB_INCLUDED
#endif
#if defined(DIEM_STB_READER_INCLUDED)
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBI_ONLY_PNG
#undef STBI_NO_STDIO
#undef DIEM_STB_READER_INCLUDED
#endif

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/file_kind.hpp>

/// \file
/// PNG images and folders of them.
/// \snippet tests/examples/io.cpp io/png.hpp

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

namespace detail {
/// The decoder asks for what a chunk claims before it reads it: every chunk up to the last one must be in the file. It has no
/// memory for image data that begins with nothing.
inline void check_png_chunks(const input_file& file, std::string_view bytes) {
    bool data = false;
    for (std::size_t at = 8;;) {
        const auto big_endian = [&](std::size_t k) { return std::uint64_t{static_cast<unsigned char>(bytes[k])}; };
        if (bytes.size() - at < 12) file.fail(at, "PNG is truncated");
        const std::uint64_t length =
            big_endian(at) << 24 | big_endian(at + 1) << 16 | big_endian(at + 2) << 8 | big_endian(at + 3);
        if (length > bytes.size() - at - 12)
            file.fail(at, "PNG is truncated, or a chunk claims more than the file holds");
        if (bytes.substr(at + 4, 4) == "IEND") return;
        if (bytes.substr(at + 4, 4) == "IDAT") {
            if (!data && length == 0) file.fail(at, "PNG without image data");
            data = true;
        }
        at += 12 + static_cast<std::size_t>(length);
    }
}
}  // namespace detail

/// Reads an 8-bit or 16-bit PNG as the numbers it holds, (height, width, channels): 0 .. 255 or 0 .. 65535; palettes become
/// colours. Throws io_error: no PNG, damaged, more pixels than the file can hold.
[[nodiscard]] inline array<float> load_png(const std::filesystem::path& path) {
    detail::input_file file(path);
    const std::string bytes = file.read_text(0, file.size(), "file");
    if (kind_of(std::string_view(bytes).substr(0, 512), file.size()) != file_kind::png)
        detail::not_this_kind(file, "a PNG image");
    detail::check_png_chunks(file, bytes);
    constexpr std::uint64_t most = 1U << 30;  // the decoder counts in int
    if (bytes.size() > most) file.fail(0, "PNG of more than a gigabyte");
    const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
    const int size = static_cast<int>(bytes.size());
    int width = 0, height = 0, channels = 0;
    const bool read = stbi_info_from_memory(data, size, &width, &height, &channels) != 0 && width > 0 && height > 0;
    const std::uint64_t pixels = static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
    // Deflate gains a factor of 1032 at most; a byte holds eight pixels at most.
    if (read && (pixels > most || pixels / 8 > bytes.size() * 1100))
        file.fail(0, "PNG claims " + std::to_string(width) + " x " + std::to_string(height) +
                         " pixels, more than the file holds");
    array<float> image;
    const auto take = [&](auto* values) {
        if (values == nullptr) return;
        const std::unique_ptr<void, decltype(&stbi_image_free)> owner(values, &stbi_image_free);
        image = array<float>({height, width, channels});
        for (index_t k = 0; k < image.size(); ++k) image[k] = static_cast<float>(values[k]);
    };
    if (read && stbi_is_16_bit_from_memory(data, size) != 0)
        take(stbi_load_16_from_memory(data, size, &width, &height, &channels, 0));
    else if (read)
        take(stbi_load_from_memory(data, size, &width, &height, &channels, 0));
    if (image.size() == 0) file.fail(0, "PNG is damaged or truncated");
    return image;
}

/// The PNGs of a folder in the order of their names (digits compared as numbers: 2 before 10), all of one shape:
/// (items, height, width) where they are grey, else (items, height, width, channels). Throws io_error.
[[nodiscard]] inline array<float> load_png_stack(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    std::error_code code;
    for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
        std::string extension = entry->path().extension().string();
        for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        if (extension == ".png" && entry->is_regular_file(code)) paths.push_back(entry->path());
    }
    if (code) throw io_error(folder.string() + ": cannot be read: " + code.message());
    if (paths.empty()) throw io_error(folder.string() + ": holds no .png");
    const auto key = [](const std::filesystem::path& path) {
        std::string text, digits;
        for (const char c : path.filename().string() + '\0') {
            if (c >= '0' && c <= '9') {
                digits += c;
                continue;
            }
            if (!digits.empty()) text += std::string(digits.size() < 20 ? 20 - digits.size() : 0, '0') + digits;
            digits.clear();
            text += c;
        }
        return text;
    };
    std::sort(paths.begin(), paths.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
    array<float> stack;
    shape_type shape;
    for (const auto& path : paths) {
        const auto image = load_png(path);
        if (shape.empty()) shape = image.shape;
        if (image.shape != shape)
            throw io_error(path.string() + ": is " + to_string(image.shape) + ", the images before it are " +
                           to_string(shape));
        stack.data.insert(stack.data.end(), image.data.begin(), image.data.end());
    }
    stack.shape = {static_cast<index_t>(paths.size()), shape[0], shape[1]};
    if (shape[2] > 1) stack.shape.push_back(shape[2]);
    return stack;
}

/// Writes a stack (items, height, width) or (items, height, width, channels) as the 8-bit images FOLDER/000000.png and so
/// on, `low` as 0 and `high` as 255; numbers beyond are cut off, NaN is 0. Each file is atomic. Throws shape_error, io_error.
inline void save_png_stack(const std::filesystem::path& folder, const array<float>& images, double low, double high) {
    if (images.shape.size() != 3 && images.shape.size() != 4)
        throw shape_error("save_png_stack: images have shape " + to_string(images.shape) +
                          ", expected (items, height, width) or (items, height, width, channels)");
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    if (code) throw io_error(folder.string() + ": cannot create the folder: " + code.message());
    const index_t features = images.features();
    array<std::uint8_t> image(
        {images.shape[1], images.shape[2], images.shape.size() == 4 ? images.shape[3] : index_t{1}});
    for (index_t i = 0; i < images.items(); ++i) {
        for (index_t k = 0; k < features; ++k) {
            const double value = (static_cast<double>(images[i * features + k]) - low) / (high - low) * 255 + 0.5;
            image[k] = !(value > 0) ? 0 : value >= 255 ? 255 : static_cast<std::uint8_t>(value);
        }
        std::string name = std::to_string(i);
        name.insert(0, name.size() < 6 ? 6 - name.size() : 0, '0');
        save_png(folder / (name + ".png"), image);
    }
}

}  // namespace diem::io
