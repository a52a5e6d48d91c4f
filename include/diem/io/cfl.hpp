// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>

/// \file
/// Arrays of BART (the Berkeley Advanced Reconstruction Toolbox): NAME.hdr, a text with up to 16 dimensions, and NAME.cfl,
/// complex64, little-endian, the first dimension fastest. Dimensions: READ, PHS1, PHS2, COIL, MAPS, TE, ..., SLICE (13), AVG.
///
/// Here the same memory is a row-major array with the dimensions reversed, those of 1 at the front left out: a measurement
/// "230 180 1 8" is (8, 1, 180, 230) = (COIL, PHS2, PHS1, READ). So READ is the last axis, the width, and lines of phase
/// encoding are rows: a mask of one value per line of PHS1 runs along the height. fastMRI has them the other way round
/// (height is READ, a mask is one value per column): `swap_last_axes` gives (..., READ, PHS1).
/// \snippet tests/examples/io.cpp io/cfl.hpp

namespace diem::io {

/// NAME, NAME.cfl or NAME.hdr with this extension.
[[nodiscard]] inline std::filesystem::path cfl_path(std::filesystem::path path, const char* extension) {
    if (path.extension() == ".cfl" || path.extension() == ".hdr") path.replace_extension();
    path += extension;
    return path;
}

namespace detail {
inline constexpr std::size_t cfl_dimensions = 16;

/// The shape that a header's text says. Throws io_error.
[[nodiscard]] inline shape_type parse_cfl_header(const input_file& file, std::string_view text) {
    shape_type shape;
    bool found = false, inside = false;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        if (line.starts_with('#')) {
            inside = line.starts_with("# Dimensions");
            if (inside && std::exchange(found, true)) file.fail(at, "# Dimensions occurs twice");
        } else if (inside) {
            for (std::size_t k = 0; k < line.size();) {
                if (line[k] == ' ' || line[k] == '\t' || line[k] == '\r') {
                    ++k;
                    continue;
                }
                index_t extent = 0;
                const auto [rest, code] = std::from_chars(line.data() + k, line.data() + line.size(), extent);
                if (code != std::errc() || extent < 1) file.fail(at + k, "a dimension that is no number above 0");
                if (shape.size() == cfl_dimensions) file.fail(at + k, "more than 16 dimensions");
                shape.push_back(extent);
                k = static_cast<std::size_t>(rest - line.data());
            }
        }
        at = end + 1;
    }
    if (!found) file.fail(0, "not the header of a BART file: no line \"# Dimensions\"");
    if (shape.empty()) file.fail(0, "no dimensions under \"# Dimensions\"");
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    std::reverse(shape.begin(), shape.end());
    return shape;
}
}  // namespace detail

/// The shape alone, row-major as above, checked against the size of the data. Throws io_error as `load_cfl`.
[[nodiscard]] inline shape_type load_cfl_shape(const std::filesystem::path& path) {
    detail::input_file header(cfl_path(path, ".hdr"));
    if (header.size() > 1 << 20) header.fail(0, "not the header of a BART file: longer than a megabyte");
    const shape_type shape = detail::parse_cfl_header(header, header.read_text(0, header.size(), "header"));
    const detail::input_file data(cfl_path(path, ".cfl"));
    index_t count = 0;
    if (!element_count(shape, count) || count > std::numeric_limits<index_t>::max() / 8)
        header.fail(0, "shape " + to_string(shape) + " has too many elements");
    if (static_cast<std::uint64_t>(count) * 8 != data.size())
        data.fail(0, "shape " + to_string(shape) + " of the header needs " + std::to_string(count * 8) +
                         " bytes, the file has " + std::to_string(data.size()));
    return shape;
}

/// NAME, NAME.cfl or NAME.hdr. Throws io_error: a missing file of the two, a header that is none, data of another size.
[[nodiscard]] inline array<std::complex<float>> load_cfl(const std::filesystem::path& path) {
    array<std::complex<float>> result(load_cfl_shape(path));
    detail::input_file data(cfl_path(path, ".cfl"));
    data.read(0, std::as_writable_bytes(std::span(result.data)), "data");
    return result;
}

/// Writes both files, each atomically, the header last. Throws shape_error for more than 16 axes or an empty array.
inline void save_cfl(const std::filesystem::path& path, const array<std::complex<float>>& values) {
    check_size("save_cfl", "elements", values.size(), element_count(values.shape));
    if (values.shape.size() > detail::cfl_dimensions || values.size() == 0)
        throw shape_error("save_cfl: shape " + to_string(values.shape) + ", expected 1 to 16 axes, none empty");
    std::string text = "# Dimensions\n";
    for (std::size_t k = 0; k < detail::cfl_dimensions; ++k)
        text += std::to_string(k < values.shape.size() ? values.shape[values.shape.size() - 1 - k] : 1) + " ";
    write_atomically(cfl_path(path, ".cfl"), std::as_bytes(std::span(values.data)));
    write_atomically(cfl_path(path, ".hdr"), text + "\n");
}

/// (..., height, width) as (..., width, height).
template <class T>
[[nodiscard]] array<T> swap_last_axes(const array<T>& values) {
    check_value("swap_last_axes", values.shape.size() >= 2, "expected two axes or more");
    array<T> result;
    result.shape = values.shape;
    result.data.resize(values.data.size());
    const index_t w = values.shape.back(), h = values.shape[values.shape.size() - 2], image = h * w;
    std::swap(result.shape.back(), result.shape[result.shape.size() - 2]);
    for (index_t first = 0; first < values.size(); first += image)
        for (index_t i = 0; i < h; ++i)
            for (index_t j = 0; j < w; ++j) result[first + j * h + i] = values[first + i * w + j];
    return result;
}

}  // namespace diem::io
