// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/atomic.hpp>
#include <diem/io/cifar.hpp>

#include "support/image_batches.hpp"

/// CIFAR-10 for the programs that read it.
namespace support {

template <diem::Backend B>
struct labelled_images {
    diem::batch<B> x;                  ///< 3072 x items
    std::vector<std::uint8_t> labels;  ///< 0 .. 9
};

/// The first `count` records of these files, all where it is negative. Throws io_error where there are fewer.
template <diem::Backend B>
[[nodiscard]] labelled_images<B> load_cifar(B& b, const std::vector<std::filesystem::path>& files, index_t count = -1) {
    auto data = diem::io::load_cifar10<float>(files, count);
    if (data.images.shape[0] < count)
        throw diem::io_error("only " + std::to_string(data.images.shape[0]) + " images in " +
                             files.front().parent_path().string() + ", " + std::to_string(count) + " asked for");
    return {diem::to_backend(b, data.images.data, 3072, data.images.shape[0]), std::move(data.labels.data)};
}

/// Writes small files in CIFAR's layout (colour gradients), for smoke runs.
inline void write_cifar_stand_in(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    auto files = diem::io::cifar10_train_files(folder);
    files.push_back(diem::io::cifar10_test_files(folder).front());
    std::uint32_t number = 0;
    for (const auto& path : files) {
        std::string bytes;
        for (int i = 0; i < 32; ++i, ++number) {
            bytes.push_back(static_cast<char>(i % 10));
            for (std::uint32_t c = 0; c < 3; ++c)
                for (int p = 0; p < 1024; ++p)
                    bytes.push_back(static_cast<char>(
                        static_cast<int>(127 + 60 * diem::normal<double>({.seed = 5}, number, c) +
                                         2 * diem::normal<double>({.seed = 6}, number, c) * (p % 32 - 16))));
        }
        diem::io::write_atomically(path, std::as_bytes(std::span(bytes)));
    }
}

}  // namespace support
