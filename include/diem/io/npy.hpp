// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>

/// \file
/// NumPy's .npy format, versions 1.0 to 3.0: the element types of `dtype` in either byte order, C or Fortran order (which is
/// transposed to C order on reading), headers of Python 2 and of NumPy's own integers. Written little-endian in C order.
/// \snippet tests/examples/io.cpp io/npy.hpp

namespace diem::io {

/// What the header of an npy file says, checked against the size of the file.
struct npy_header {
    dtype type = dtype::f32;
    shape_type shape;
    bool column_major = false;  ///< Fortran order: the first extent runs fastest in the file
    bool big_endian = false;
    std::string descr = {};    ///< the element type as the file names it
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
    /// Reads by `read`, also inside a call such as np.int64(...), as NumPy 2 prints its own scalars.
    template <class Read>
    [[nodiscard]] auto maybe_called(Read read) {
        skip_space();
        std::size_t end = at_;
        const auto of_name = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
        };
        while (end < text_.size() && of_name(text_[end])) ++end;
        const std::string_view name = text_.substr(at_, end - at_);
        if ((!name.starts_with("np.") && !name.starts_with("numpy.")) || end == text_.size() || text_[end] != '(')
            return read();
        at_ = end + 1;
        auto value = read();
        expect(')');
        return value;
    }
    [[nodiscard]] std::string string() {
        return maybe_called([&] {
            skip_space();
            if (text_.substr(at_, 2) == "u'" || text_.substr(at_, 2) == "b'") ++at_;  // Python 2's unicode, 3's bytes
            const char quote = at_ < text_.size() ? text_[at_] : '\0';
            if (quote != '\'' && quote != '"') fail("expected a string");
            const std::size_t end = text_.find(quote, at_ + 1);
            if (end == std::string_view::npos) fail("string without end");
            std::string value(text_.substr(at_ + 1, end - at_ - 1));
            at_ = end + 1;
            return value;
        });
    }
    [[nodiscard]] bool boolean_literal() {
        return maybe_called([&] {
            skip_space();
            for (const auto& [word, value] : std::initializer_list<std::pair<std::string_view, bool>>{
                     {"True", true}, {"False", false}, {"np.True_", true}, {"np.False_", false}})
                if (text_.substr(at_, word.size()) == word) {
                    at_ += word.size();
                    return value;
                }
            fail("expected True or False");
        });
    }
    [[nodiscard]] index_t extent() {
        return maybe_called([&] {
            skip_space();
            index_t value = 0;
            const char* const first = text_.data() + at_;
            const auto [end, code] = std::from_chars(first, text_.data() + text_.size(), value);
            if (code != std::errc() || value < 0) fail("bad extent in the shape");
            at_ += static_cast<std::size_t>(end - first);
            if (at_ < text_.size() && (text_[at_] == 'L' || text_[at_] == 'l')) ++at_;  // Python 2's long
            return value;
        });
    }
    [[nodiscard]] shape_type tuple() {
        shape_type extents;
        bool comma = true;
        expect('(');
        while (!accept(')')) {
            if (!comma) fail("expected a comma");
            if (extents.size() == 64) fail("more than 64 axes");
            extents.push_back(extent());
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
    const std::string magic = file.read_text(0, std::min<std::uint64_t>(file.size(), 6), "npy magic");
    if (magic != "\x93NUMPY") not_this_kind(file, "an npy file");
    const std::string start = file.read_text(0, 8, "npy version");
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
    header.column_major = dictionary.fortran_order;
    header.descr = dictionary.descr;
    header.big_endian = header.descr.starts_with('>');
    // '<f4', '>f4'; 'f4' and '=f4', the order of the machine that wrote it, are little-endian here.
    const std::string_view descr = header.descr;
    const bool native = !descr.empty() && (descr.front() == '=' || (descr.front() >= 'a' && descr.front() <= 'z'));
    const std::string name = native ? '<' + std::string(descr.substr(descr.front() == '=' ? 1 : 0)) : header.descr;
    const char order = name.empty() ? '\0' : header.big_endian ? '<' : name.front();
    const auto* row = std::find_if(std::begin(dtype_table), std::end(dtype_table), [&](const dtype_info& candidate) {
        return !candidate.npy.empty() && (order == '<' || order == '|') &&
               candidate.npy.substr(1) == std::string_view(name).substr(1) &&
               (candidate.size == 1 || candidate.npy.front() == order);
    });
    if (row == std::end(dtype_table)) file.fail(begin, "npy element type '" + header.descr + "' is not supported");
    header.type = row->type;
    index_t count = 0;
    if (!element_count(header.shape, count) || count > INT64_MAX / 16)
        file.fail(begin, "npy shape " + to_string(header.shape) + " has too many elements");
    const std::uint64_t needed = static_cast<std::uint64_t>(count) * row->size;
    const std::uint64_t available = file.size() - header.offset;
    if (needed != available)
        file.fail(header.offset, "npy shape " + to_string(header.shape) + " of " + header.descr + " needs " +
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

namespace detail {
/// The data of a header's array as bytes of little-endian elements into `target`, in the order of the file.
inline void read_npy_bytes(input_file& file, const npy_header& header, std::span<std::byte> target) {
    file.read(header.offset, target, "npy data");
    if (!header.big_endian) return;
    const std::size_t size = info(header.type).size;
    swap_bytes(target, is_complex(header.type) ? size / 2 : size);
}
template <class T>
[[nodiscard]] array<T> in_row_major(array<T> values, bool column_major) {
    if (column_major && values.shape.size() > 1) values.data = from_column_major(values.data, values.shape);
    return values;
}
/// Throws io_error unless elements of `type` convert to To; `what` names the array, `remedy` what real data asks for.
template <class To>
void require_convertible(const input_file& file, dtype type, const std::string& what) {
    if (convertible<To>(type)) return;
    if (is_complex(type) && std::is_floating_point_v<To>)
        file.fail(0, what + " holds complex numbers, expected real ones");
    if (is_complex_v<To> && convertible<float>(type)) file.fail(0, what + " holds real numbers, expected complex ones");
    file.fail(0, what + " does not convert to the type asked for");
}
template <class T>
[[nodiscard]] array<T> read_npy_as(input_file& file, const npy_header& header) {
    require_convertible<T>(file, header.type, "npy element type " + header.descr);
    std::vector<std::byte> bytes(static_cast<std::size_t>(file.size() - header.offset));
    read_npy_bytes(file, header, bytes);
    array<T> result(header.shape);
    if (const auto bad = convert<T>(header.type, bytes.data(), result.data))
        file.fail(header.offset + *bad * info(header.type).size, "value outside the range of the type asked for");
    return in_row_major(std::move(result), header.column_major);
}
}  // namespace detail

/// The array, of exactly this element type (in either byte order). Throws io_error with path and offset: another type or
/// kind of file, a malformed header, data shorter or longer than the shape says (nothing is allocated before that is known).
template <class T>
[[nodiscard]] array<T> load_npy(const std::filesystem::path& path) {
    detail::input_file file(path);
    const npy_header header = detail::read_npy_header(file);
    if (header.type != dtype_of<T>())
        file.fail(0, "npy element type is " + header.descr + ", expected " + std::string(info(dtype_of<T>()).npy));
    array<T> result(header.shape);
    detail::read_npy_bytes(file, header, std::as_writable_bytes(std::span(result.data)));
    return detail::in_row_major(std::move(result), header.column_major);
}

/// The array converted: any real type to float or double, any integer type to an integer type that holds its values, any
/// complex type to std::complex. Real data asked for as complex, and the other way round, is an io_error that says so.
template <class T>
[[nodiscard]] array<T> load_npy_as(const std::filesystem::path& path) {
    detail::input_file file(path);
    return detail::read_npy_as<T>(file, detail::read_npy_header(file));
}

/// Real or complex data, as the file has it.
template <class T>
[[nodiscard]] numbers<T> load_npy_numbers(const std::filesystem::path& path) {
    detail::input_file file(path);
    const npy_header header = detail::read_npy_header(file);
    if (!is_complex(header.type)) return {detail::read_npy_as<T>(file, header), false};
    return {as_pairs(detail::read_npy_as<std::complex<T>>(file, header)), true};
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
