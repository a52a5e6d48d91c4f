// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves out what includes this header.

#include <hdf5.h>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>

namespace diem::io::detail {

/// An identifier of HDF5 with the function that closes it.
class hdf5_id {
public:
    hdf5_id() = default;
    hdf5_id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
    hdf5_id(hdf5_id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
    hdf5_id& operator=(hdf5_id&& other) noexcept {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~hdf5_id() {
        if (id_ >= 0) close_(id_);
    }
    [[nodiscard]] hid_t get() const { return id_; }
    [[nodiscard]] explicit operator bool() const { return id_ >= 0; }

private:
    hid_t id_ = -1;
    herr_t (*close_)(hid_t) = nullptr;
};

/// HDF5 prints its errors unless told not to: here they become exceptions.
class hdf5_silence {
public:
    hdf5_silence() {
        H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
        H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    }
    hdf5_silence(const hdf5_silence&) = delete;
    hdf5_silence& operator=(const hdf5_silence&) = delete;
    ~hdf5_silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

private:
    H5E_auto2_t function_ = nullptr;
    void* data_ = nullptr;
};

template <class T>
[[nodiscard]] hid_t hdf5_native() {
    if constexpr (std::is_same_v<T, float>)
        return H5T_NATIVE_FLOAT;
    else if constexpr (std::is_same_v<T, double>)
        return H5T_NATIVE_DOUBLE;
    else if constexpr (std::is_same_v<T, std::uint8_t>)
        return H5T_NATIVE_UINT8;
    else {
        static_assert(std::is_same_v<T, std::int64_t>, "no such element type");
        return H5T_NATIVE_INT64;
    }
}
/// Complex numbers as h5py and fastMRI (r, i) or MATLAB (real, imag) name their halves.
template <class T>
[[nodiscard]] hdf5_id hdf5_memory_type(const char* real = "r", const char* imaginary = "i") {
    if constexpr (is_complex_v<T>) {
        using part = typename T::value_type;
        hdf5_id type(H5Tcreate(H5T_COMPOUND, sizeof(T)), H5Tclose);
        H5Tinsert(type.get(), real, 0, hdf5_native<part>());
        H5Tinsert(type.get(), imaginary, sizeof(part), hdf5_native<part>());
        return type;
    } else {
        return {H5Tcopy(hdf5_native<T>()), H5Tclose};
    }
}

/// What a data set holds.
struct hdf5_description {
    shape_type shape;
    bool complex = false;  ///< a compound of two numbers, else numbers
    std::string real, imaginary;
};

/// A file open for reading. HDF5 is not safe for several threads: use it in one at a time.
/// Throws io_error with file and data set: no such file, no HDF5, not there, neither numbers nor complex numbers, a size that
/// the file cannot hold (compression included), damaged. HDF5 1.10 itself may crash on some damage inside a file: found by
/// random changes to its strings of variable length. Read files of people you trust.
class hdf5_file {
public:
    explicit hdf5_file(const std::filesystem::path& path) : path_(path) {
        input_file file(path);
        const std::uint64_t size = std::min<std::uint64_t>(file.size(), 512);
        const file_kind kind = kind_of(file.read_text(0, size, "first bytes"), file.size());
        bytes_ = file.size();
        const hdf5_silence silence;
        // With a user block before it, HDF5 looks for its signature itself.
        if (kind != file_kind::hdf5 && kind != file_kind::matlab_hdf5 && H5Fis_hdf5(path.c_str()) <= 0)
            not_this_kind(file, "an HDF5 file");
        file_ = hdf5_id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
        if (!file_) throw io_error(path.string() + ": is a damaged or truncated HDF5 file");
    }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  ///< of the file
    [[noreturn]] void fail(const std::string& name, const std::string& what) const {
        throw io_error(path_.string() + ": data set \"" + name + "\": " + what);
    }

    [[nodiscard]] bool contains(const std::string& name) const {
        const hdf5_silence silence;
        return H5Lexists(file_.get(), name.c_str(), H5P_DEFAULT) > 0;
    }
    /// Names of the data sets at the top, sorted.
    [[nodiscard]] std::vector<std::string> names() const {
        const hdf5_silence silence;
        std::vector<std::string> found;
        const auto add = [](hid_t group, const char* name, const H5L_info_t*, void* list) -> herr_t {
            const hdf5_id object(H5Oopen(group, name, H5P_DEFAULT), H5Oclose);
            if (object && H5Iget_type(object.get()) == H5I_DATASET)
                static_cast<std::vector<std::string>*>(list)->emplace_back(name);
            return 0;
        };
        H5Literate(file_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &found);
        return found;
    }

    [[nodiscard]] hdf5_description describe(const std::string& name) const {
        const hdf5_silence silence;
        return describe(name, open(name));
    }

    /// Items first .. first + count of the first axis (all of a data set without axes), converted to T: real as float or
    /// double, complex as std::complex. The shape is that of the data set, with `count` for its first extent.
    template <class T>
    [[nodiscard]] array<T> read(const std::string& name, index_t first, index_t count) const {
        const hdf5_silence silence;
        const hdf5_id set = open(name);
        hdf5_description d = describe(name, set);
        if (d.complex != is_complex_v<T>)
            fail(name,
                 d.complex ? "holds complex numbers, expected real ones" : "holds real numbers, expected complex ones");
        const hdf5_id space(H5Dget_space(set.get()), H5Sclose);
        hdf5_id memory;
        if (d.shape.empty()) {
            memory = hdf5_id(H5Screate(H5S_SCALAR), H5Sclose);
        } else {
            if (first < 0 || count < 0 || first > d.shape[0] || count > d.shape[0] - first)
                fail(name, "has " + std::to_string(d.shape[0]) + " items, asked for " + std::to_string(first) + " to " +
                               std::to_string(first + count));
            d.shape[0] = count;
            std::vector<hsize_t> start(d.shape.size(), 0), extent(d.shape.begin(), d.shape.end());
            start[0] = static_cast<hsize_t>(first);
            memory = hdf5_id(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
            if (io::element_count(d.shape) > 0 &&
                H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) < 0)
                fail(name, "cannot select items");
        }
        array<T> result(d.shape);
        if (result.size() == 0) return result;
        const hdf5_id type = hdf5_memory_type<T>(d.real.c_str(), d.imaginary.c_str());
        if (H5Dread(set.get(), type.get(), d.shape.empty() ? H5S_ALL : memory.get(),
                    d.shape.empty() ? H5S_ALL : space.get(), H5P_DEFAULT, result.data.data()) < 0)
            fail(name, "cannot be read: damaged, or compressed by a filter that HDF5 does not have here");
        return result;
    }
    template <class T>
    [[nodiscard]] array<T> read(const std::string& name) const {
        const auto shape = describe(name).shape;
        return read<T>(name, 0, shape.empty() ? 1 : shape[0]);
    }

    /// The extents of the pieces that a data set is stored in, each compressed by itself; none where it is stored in one.
    [[nodiscard]] shape_type chunk(const std::string& name) const {
        const hdf5_silence silence;
        const hdf5_id set = open(name), creation(H5Dget_create_plist(set.get()), H5Pclose);
        if (H5Pget_layout(creation.get()) != H5D_CHUNKED) return {};
        hsize_t extents[H5S_MAX_RANK] = {};
        const int axes = H5Pget_chunk(creation.get(), H5S_MAX_RANK, extents);
        return {extents, extents + std::max(axes, 0)};
    }

    /// A text: a data set of one string.
    [[nodiscard]] std::string text(const std::string& name) const {
        const hdf5_silence silence;
        const hdf5_id set = open(name);
        const hdf5_id type(H5Dget_type(set.get()), H5Tclose), space(H5Dget_space(set.get()), H5Sclose);
        const auto read = [&](hid_t memory, void* target) {
            return H5Dread(set.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, target);
        };
        return text_of(name, type, space, read);
    }
    /// An attribute of the file, where it is there.
    [[nodiscard]] std::optional<std::string> text_attribute(const std::string& name) const {
        const hdf5_silence silence;
        if (H5Aexists(file_.get(), name.c_str()) <= 0) return std::nullopt;
        const hdf5_id attribute(H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
        const hdf5_id type(H5Aget_type(attribute.get()), H5Tclose), space(H5Aget_space(attribute.get()), H5Sclose);
        const auto read = [&](hid_t memory, void* target) { return H5Aread(attribute.get(), memory, target); };
        return text_of(name, type, space, read);
    }
    [[nodiscard]] std::optional<double> number_attribute(const std::string& name) const {
        const hdf5_silence silence;
        if (H5Aexists(file_.get(), name.c_str()) <= 0) return std::nullopt;
        const hdf5_id attribute(H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
        const hdf5_id type(H5Aget_type(attribute.get()), H5Tclose), space(H5Aget_space(attribute.get()), H5Sclose);
        const auto kind = H5Tget_class(type.get());
        double value = 0;
        if ((kind != H5T_INTEGER && kind != H5T_FLOAT) || H5Sget_simple_extent_npoints(space.get()) != 1 ||
            H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value) < 0)
            throw io_error(path_.string() + ": attribute \"" + name + "\" is no number");
        return value;
    }

    /// A data set.
    [[nodiscard]] hdf5_id open(const std::string& name) const {
        if (H5Lexists(file_.get(), name.c_str(), H5P_DEFAULT) <= 0) {
            std::string there;
            for (const std::string& other : names()) there += (there.empty() ? "" : ", ") + other;
            fail(name, "is not there; the file has " + (there.empty() ? "none" : there));
        }
        hdf5_id set(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
        if (!set) fail(name, "is no data set, or is damaged");
        if (!is_sound(hdf5_id(H5Dget_type(set.get()), H5Tclose).get())) fail(name, "has a damaged type");
        return set;
    }

private:
    [[nodiscard]] hdf5_description describe(const std::string& name, const hdf5_id& set) const {
        const hdf5_id type(H5Dget_type(set.get()), H5Tclose), space(H5Dget_space(set.get()), H5Sclose);
        hdf5_description d;
        const auto is_number = [](hid_t t) {
            const auto kind = H5Tget_class(t);
            return kind == H5T_INTEGER || kind == H5T_FLOAT || kind == H5T_ENUM;
        };
        if (H5Tget_class(type.get()) == H5T_COMPOUND && H5Tget_nmembers(type.get()) == 2) {
            d.complex = true;
            for (unsigned k = 0; k < 2; ++k) {
                const hdf5_id member(H5Tget_member_type(type.get(), k), H5Tclose);
                char* const text = H5Tget_member_name(type.get(), k);
                (k == 0 ? d.real : d.imaginary) = text != nullptr ? text : "";
                H5free_memory(text);
                if (!is_number(member.get())) fail(name, "is a compound of other things than numbers");
            }
            if (d.real == "i" || d.real == "imag") std::swap(d.real, d.imaginary);
        } else if (!is_number(type.get())) {
            fail(name, "holds neither numbers nor complex numbers");
        }
        const int axes = H5Sget_simple_extent_ndims(space.get());
        if (axes < 0) fail(name, "has no simple shape");
        std::vector<hsize_t> extents(static_cast<std::size_t>(axes));
        if (axes > 0) H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
        for (const hsize_t extent : extents) {
            if (extent > static_cast<hsize_t>(std::numeric_limits<index_t>::max())) fail(name, "has absurd extents");
            d.shape.push_back(static_cast<index_t>(extent));
        }
        check_held(name, set, d.shape, H5Tget_size(type.get()));
        return d;
    }

    /// Whether the members of a compound lie inside of it, one after another: HDF5 converts them without looking.
    [[nodiscard]] static bool is_sound(hid_t type, int depth = 0) {
        const auto kind = H5Tget_class(type);
        const auto inside = [&](const hdf5_id& t) { return t && depth < 8 && is_sound(t.get(), depth + 1); };
        if (kind == H5T_ARRAY || kind == H5T_VLEN) return inside(hdf5_id(H5Tget_super(type), H5Tclose));
        if (kind != H5T_COMPOUND) return kind != H5T_NO_CLASS && H5Tget_size(type) > 0;
        const std::size_t size = H5Tget_size(type);
        std::size_t all = 0;
        for (int k = 0; k < H5Tget_nmembers(type); ++k) {
            const hdf5_id member(H5Tget_member_type(type, static_cast<unsigned>(k)), H5Tclose);
            if (!inside(member)) return false;
            const std::size_t width = H5Tget_size(member.get());
            if (H5Tget_member_offset(type, static_cast<unsigned>(k)) + width > size || (all += width) > size)
                return false;
        }
        return true;
    }

    /// A few bytes can claim any size. Deflate gains a factor of 1032 at most, other filters less.
    void check_held(const std::string& name, const hdf5_id& set, const shape_type& shape, std::size_t width) const {
        index_t count = 0;
        if (!element_count(shape, count) ||
            (width > 0 && static_cast<std::uint64_t>(count) > std::numeric_limits<index_t>::max() / width / 8))
            fail(name, "shape " + to_string(shape) + " has too many elements");
        const hdf5_id creation(H5Dget_create_plist(set.get()), H5Pclose);
        const std::uint64_t stored = std::min<std::uint64_t>(H5Dget_storage_size(set.get()), bytes_);
        const std::uint64_t gain = H5Pget_nfilters(creation.get()) > 0 ? 1100 : 1;
        if (static_cast<std::uint64_t>(count) * width > stored * gain)
            fail(name, "shape " + to_string(shape) + " is more than the " + std::to_string(stored) +
                           " bytes that the file holds of it: truncated, or never written");
    }

    template <class Read>
    [[nodiscard]] std::string text_of(const std::string& name, const hdf5_id& type, const hdf5_id& space,
                                      Read read) const {
        if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1)
            fail(name, "is no text");
        std::string result;
        if (H5Tis_variable_str(type.get()) > 0) {
            const hdf5_id memory(H5Tcopy(H5T_C_S1), H5Tclose);
            H5Tset_size(memory.get(), H5T_VARIABLE);
            H5Tset_cset(memory.get(), H5Tget_cset(type.get()));
            char* text = nullptr;
            if (read(memory.get(), &text) < 0 || text == nullptr) fail(name, "cannot be read");
            result = text;
            H5free_memory(text);
        } else {
            const std::size_t size = H5Tget_size(type.get());
            if (size > bytes_) fail(name, "is a text longer than the file");
            result.resize(size);
            if (read(type.get(), result.data()) < 0) fail(name, "cannot be read");
        }
        return result.substr(0, result.find('\0'));
    }

    std::filesystem::path path_;
    std::uint64_t bytes_ = 0;
    hdf5_id file_;
};

}  // namespace diem::io::detail
