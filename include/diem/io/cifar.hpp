// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <diem/io/array.hpp>
#include <diem/io/detail/input_file.hpp>

/// \file
/// The binary layout of CIFAR-10 (Krizhevsky 2009): records of one label byte, then 32 x 32 bytes each of red, green, blue.
/// \snippet tests/examples/io.cpp io/cifar.hpp

namespace diem::io {

/// A pixel 0 .. 255 in the data range of the paper: pixel * 4 / 256 - 2, in [-2, 2).
template <class T>
[[nodiscard]] constexpr T pixel_to_data(std::uint8_t pixel) {
    return static_cast<T>(pixel) / T(64) - T(2);
}
/// The nearest pixel; outside the data range, and for NaN, the nearest end (NaN: 0).
template <class T>
[[nodiscard]] constexpr std::uint8_t data_to_pixel(T value) {
    const T pixel = (value + T(2)) * T(64) + T(0.5);
    if (!(pixel > T(0))) return 0;
    return pixel >= T(255) ? 255 : static_cast<std::uint8_t>(pixel);
}

/// Images (items, 32, 32, 3) in [-2, 2), and their labels 0 .. 9.
template <class T>
struct cifar_images {
    array<T> images;
    array<std::uint8_t> labels;
};

/// Reads the first `limit` records (all where negative) of these files, one after another. Throws io_error where a file is
/// missing or empty, is no whole number of records, or has a label above 9.
template <class T>
[[nodiscard]] cifar_images<T> load_cifar10(const std::vector<std::filesystem::path>& paths, index_t limit = -1) {
    constexpr index_t pixels = 32 * 32, record = 1 + 3 * pixels;
    cifar_images<T> result;
    index_t items = 0;
    for (const auto& path : paths) {
        if (limit >= 0 && items >= limit) break;
        detail::input_file file(path);
        if (file.size() == 0 || file.size() % record != 0)
            file.fail(file.size() / record * record, "size " + std::to_string(file.size()) +
                                                         " is not a positive multiple of " + std::to_string(record));
        index_t count = static_cast<index_t>(file.size()) / record;
        if (limit >= 0 && count > limit - items) count = limit - items;
        std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * record));
        file.read(0, std::as_writable_bytes(std::span(bytes)), "records");
        result.images.data.resize(static_cast<std::size_t>((items + count) * 3 * pixels));
        for (index_t i = 0; i < count; ++i) {
            const std::uint8_t* source = bytes.data() + i * record;
            if (*source > 9) file.fail(static_cast<std::uint64_t>(i * record), "label " + std::to_string(*source));
            result.labels.data.push_back(*source++);
            T* target = result.images.data.data() + (items + i) * 3 * pixels;
            for (index_t k = 0; k < pixels; ++k)
                for (index_t c = 0; c < 3; ++c) target[3 * k + c] = pixel_to_data<T>(source[c * pixels + k]);
        }
        items += count;
    }
    result.images.shape = {items, 32, 32, 3};
    result.labels.shape = {items};
    return result;
}

/// data_batch_1.bin .. data_batch_5.bin of a folder.
[[nodiscard]] inline std::vector<std::filesystem::path> cifar10_train_files(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    for (int k = 1; k <= 5; ++k) paths.push_back(folder / ("data_batch_" + std::to_string(k) + ".bin"));
    return paths;
}
/// test_batch.bin of a folder.
[[nodiscard]] inline std::vector<std::filesystem::path> cifar10_test_files(const std::filesystem::path& folder) {
    return {folder / "test_batch.bin"};
}

}  // namespace diem::io
