// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves out what includes this header.

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include <diem/io/array.hpp>
#include <diem/io/detail/hdf5.hpp>

namespace diem::io::detail {

/// Items of the first axis of a data set, one at a time in any order: as many as a chunk of the file holds are kept, so that none is
/// decompressed again for the next item, up to 128 MiB.
template <class T>
class hdf5_rows {
public:
    hdf5_rows(const hdf5_file& file, std::string name) : name_(std::move(name)) {
        constexpr std::size_t most = std::size_t{1} << 27;
        const shape_type shape = file.describe(name_).shape, chunk = file.chunk(name_);
        total_ = shape.at(0);
        const auto bytes = static_cast<std::size_t>(element_count({shape.begin() + 1, shape.end()})) * sizeof(T);
        const auto fit = static_cast<index_t>(most / std::max<std::size_t>(bytes, 1));
        block_ = chunk.empty() || chunk[0] > fit ? 1 : chunk[0];
    }
    /// Item i, the first extent 1. Throws io_error as hdf5_file::read.
    [[nodiscard]] array<T> read(const hdf5_file& file, index_t i) {
        if (block_ == 1 || i < 0 || i >= total_) return file.read<T>(name_, i, 1);
        if (i / block_ != held_) {
            held_ = -1;
            kept_ = file.read<T>(name_, i / block_ * block_, std::min(block_, total_ - i / block_ * block_));
            held_ = i / block_;
        }
        shape_type one = kept_.shape;
        one[0] = 1;
        const auto from = kept_.data.begin() + i % block_ * kept_.features();
        return {one, {from, from + kept_.features()}};
    }

private:
    std::string name_;
    index_t total_ = 0, block_ = 1, held_ = -1;
    array<T> kept_;
};

}  // namespace diem::io::detail
