// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/dtype.hpp>

/// NumPy's .npy format, versions 1.0 to 3.0: little-endian, C order, the element types of `dtype` (complex64 is
/// std::complex<float>; `as_pairs` makes pairs of it).
namespace diem::io {

/// What the header of an npy file says, checked against the size of the file.
struct npy_header {
    dtype type = dtype::f32;
    shape_type shape;
    std::uint64_t offset = 0;  ///< where the data begins
};

namespace detail {

/// The header's Python dictionary {'descr': ..., 'fortran_order': ..., 'shape': (...)}: each key once, in any order.
class npy_dictionary {
public:
    npy_dictionary(const input_file& file, std::uint64_t offset, std::string_view text)
        : file_(file), offset_(offset), text_(text) {
        bool has_descr = false, has_order = false, has_shape = false;
        expect('{');
        while (!accept('}')) {
            const std::string key = string();
            expect(':');
            if (key == "descr" && !std::exchange(has_descr, true))
                descr = string();
            else if (key == "fortran_order" && !std::exchange(has_order, true))
                fortran_order = boolean_literal();
            else if (key == "shape" && !std::exchange(has_shape, true))
                shape = tuple();
            else
                fail("unknown or repeated key '" + key + "'");
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip_space();
        if (at_ != text_.size()) fail("text after the dictionary");
        if (!has_descr || !has_order || !has_shape) fail("descr, fortran_order or shape is missing");
    }

    std::string descr;
    bool fortran_order = false;
    shape_type shape;

private:
    [[noreturn]] void fail(const std::string& what) const { file_.fail(offset_ + at_, "npy header: " + what); }
    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    }
    [[nodiscard]] bool accept(char c) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!accept(c)) fail(std::string("expected ") + c);
    }
    [[nodiscard]] std::string string() {
        skip_space();
        const char quote = at_ < text_.size() ? text_[at_] : '\0';
        if (quote != '\'' && quote != '"') fail("expected a string");
        const std::size_t end = text_.find(quote, at_ + 1);
        if (end == std::string_view::npos) fail("string without end");
        const std::string value(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return value;
    }
    [[nodiscard]] bool boolean_literal() {
        skip_space();
        for (const auto& [word, value] :
             {std::pair(std::string_view("True"), true), std::pair(std::string_view("False"), false)})
            if (text_.substr(at_, word.size()) == word) {
                at_ += word.size();
                return value;
            }
        fail("expected True or False");
    }
    [[nodiscard]] shape_type tuple() {
        shape_type extents;
        bool comma = true;
        expect('(');
        while (!accept(')')) {
            if (!comma) fail("expected a comma");
            if (extents.size() == 64) fail("more than 64 axes");
            skip_space();
            index_t extent = 0;
            const char* const first = text_.data() + at_;
            const auto [end, code] = std::from_chars(first, text_.data() + text_.size(), extent);
            if (code != std::errc() || extent < 0) fail("bad extent in the shape");
            at_ += static_cast<std::size_t>(end - first);
            extents.push_back(extent);
            comma = accept(',');
        }
        if (extents.size() == 1 && !comma) fail("a tuple of one needs a comma");
        return extents;
    }

    const input_file& file_;
    std::uint64_t offset_;
    std::string_view text_;
    std::size_t at_ = 0;
};

[[nodiscard]] inline npy_header read_npy_header(input_file& file) {
    const std::string start = file.read_text(0, 8, "npy magic");
    if (start.substr(0, 6) != "\x93NUMPY") file.fail(0, "not an npy file");
    const int major = static_cast<unsigned char>(start[6]);
    if (major < 1 || major > 3 || start[7] != 0) file.fail(6, "npy version that this reader does not know");
    std::uint32_t length = 0;
    const std::size_t width = major == 1 ? 2 : 4;
    file.read(8, std::as_writable_bytes(std::span(&length, 1)).first(width), "length of the npy header");
    const std::uint64_t begin = 8 + width;
    const std::string text = file.read_text(begin, length, "npy header");
    const npy_dictionary dictionary(file, begin, text);

    npy_header header;
    header.shape = dictionary.shape;
    header.offset = begin + length;
    const auto* row = std::find_if(std::begin(dtype_table), std::end(dtype_table), [&](const dtype_info& candidate) {
        return !candidate.npy.empty() && candidate.npy == dictionary.descr;
    });
    if (row == std::end(dtype_table)) file.fail(begin, "npy element type '" + dictionary.descr + "' is not supported");
    header.type = row->type;
    if (dictionary.fortran_order) file.fail(begin, "npy in Fortran order is not supported");
    index_t count = 0;
    if (!element_count(header.shape, count) || count > INT64_MAX / 8)
        file.fail(begin, "npy shape " + to_string(header.shape) + " has too many elements");
    const std::uint64_t needed = static_cast<std::uint64_t>(count) * row->size;
    const std::uint64_t available = file.size() - header.offset;
    if (needed != available)
        file.fail(header.offset, "npy shape " + to_string(header.shape) + " of " + dictionary.descr + " needs " +
                                     std::to_string(needed) + " bytes of data, the file has " +
                                     std::to_string(available));
    return header;
}

}  // namespace detail

/// Element type and shape, without the data. Throws io_error as `load_npy`.
[[nodiscard]] inline npy_header load_npy_header(const std::filesystem::path& path) {
    detail::input_file file(path);
    return detail::read_npy_header(file);
}

/// The array, of exactly this element type. Throws io_error with path and offset: another type, Fortran order, big-endian,
/// a malformed header, data shorter or longer than the shape says (nothing is allocated before that is known).
template <class T>
[[nodiscard]] array<T> load_npy(const std::filesystem::path& path) {
    detail::input_file file(path);
    const npy_header header = detail::read_npy_header(file);
    if (header.type != dtype_of<T>())
        file.fail(0, "npy element type is " + std::string(info(header.type).npy) + ", expected " +
                         std::string(info(dtype_of<T>()).npy));
    array<T> result(header.shape);
    file.read(header.offset, std::as_writable_bytes(std::span(result.data)), "npy data");
    return result;
}

/// The array converted: any real type to float or double, any integer type to an integer type that holds its values.
template <class T>
[[nodiscard]] array<T> load_npy_as(const std::filesystem::path& path) {
    detail::input_file file(path);
    const npy_header header = detail::read_npy_header(file);
    if (!detail::convertible<T>(header.type))
        file.fail(0,
                  "npy element type " + std::string(info(header.type).npy) + " does not convert to the type asked for");
    std::vector<std::byte> bytes(static_cast<std::size_t>(file.size() - header.offset));
    file.read(header.offset, bytes, "npy data");
    array<T> result(header.shape);
    if (const auto bad = detail::convert<T>(header.type, bytes.data(), result.data))
        file.fail(header.offset + *bad * info(header.type).size, "value outside the range of the type asked for");
    return result;
}

/// Writes version 1.0, atomically, data at a multiple of 64 bytes as NumPy does. Throws shape_error where shape and elements
/// do not fit, io_error where the file cannot be written.
template <class T>
void save_npy(const std::filesystem::path& path, const shape_type& shape, std::span<const T> elements) {
    static_assert(!info(dtype_of<T>()).npy.empty(), "npy has no such element type");
    check_size("save_npy", "elements", static_cast<index_t>(elements.size()), element_count(shape));
    check_value("save_npy", shape.size() <= 64, "more than 64 axes");
    std::string text = "{'descr': '" + std::string(info(dtype_of<T>()).npy) + "', 'fortran_order': False, 'shape': (";
    for (std::size_t k = 0; k < shape.size(); ++k)
        text += std::to_string(shape[k]) + (k + 1 < shape.size() ? ", " : shape.size() == 1 ? "," : "");
    text += "), }";
    text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');
    text += '\n';
    std::string start("\x93NUMPY\x01\0", 8);
    start += static_cast<char>(text.size() & 0xFF);
    start += static_cast<char>(text.size() >> 8);
    atomic_file file(path);
    file.write(start + text);
    file.write(std::as_bytes(elements));
    file.commit();
}
template <class T>
void save_npy(const std::filesystem::path& path, const array<T>& values) {
    save_npy(path, values.shape, std::span<const T>(values.data));
}

}  // namespace diem::io
