// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/content_hash.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>
#include <diem/io/json.hpp>

/// \file
/// The safetensors format (huggingface/safetensors): a length (8 bytes), a JSON header of names, dtypes, shapes and
/// offsets, then the data, without gap or overlap.
/// \snippet tests/examples/io.cpp io/safetensors.hpp

namespace diem::io {

/// A tensor inside a file: its extents and where its bytes lie.
struct tensor_info {
    dtype type = dtype::f32;  ///< `dtype::other`: of the format, but not read here
    std::string dtype_name;   ///< as the file has it
    shape_type shape;
    std::uint64_t offset = 0;  ///< from the start of the file
    std::uint64_t bytes = 0;
    [[nodiscard]] index_t size() const { return element_count(shape); }
};

namespace detail {
/// Element types of the format that are skipped over: they fail only where such a tensor is asked for. Sizes in bits.
struct skipped_dtype {
    std::string_view name;
    unsigned bits;
};
inline constexpr skipped_dtype skipped_dtypes[] = {
    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
};
}  // namespace detail

/// Reads a safetensors file: the constructor checks the whole header against the size of the file, tensors are read on
/// request. Throws io_error with path and offset: truncated or oversized, a header that is no JSON object of the format,
/// a name twice, unknown dtype, negative or overflowing extents, offsets that do not fit the shape, overlap or leave gaps.
/// As in the reference implementation, null metadata is none, keys of a tensor beside those of the format mean nothing, and
/// a tensor of an element type that is not read here does no harm until it is asked for.
class safetensors_file {
public:
    /// The metadata that holds the hashes of tensors: JSON {name: "DTYPE:HASH"}, XXH64 of the tensor's
    /// bytes as 16 hexadecimal digits.
    static constexpr const char* hash_key = "diem.xxh64";
    /// The same of the metadata beside them: JSON {key: HASH}.
    static constexpr const char* metadata_hash_key = "diem.xxh64.metadata";
    /// Longest header accepted, as in the reference implementation.
    static constexpr std::uint64_t max_header_bytes = 100'000'000;

    explicit safetensors_file(const std::filesystem::path& path) : file_(path) {
        std::uint64_t length = 0;
        if (file_.size() < 8) detail::not_this_kind(file_, "a safetensors file (shorter than the length of a header)");
        file_.read(0, std::as_writable_bytes(std::span(&length, 1)), "length of the header");
        refuse_other_kinds();
        if (length > max_header_bytes)
            file_.fail(0, "not a safetensors file: its header would have " + std::to_string(length) + " bytes");
        const std::string text = file_.read_text(8, length, "header");
        if (text.empty() || text.front() != '{') file_.fail(8, "the header does not start with {");
        const json header = parse_json(text, path.string(), {}, 8);
        const std::uint64_t begin = 8 + length;
        for (const auto& [name, entry] : header.items()) {
            if (name == "__metadata__")
                read_metadata(entry);
            else
                tensors_.emplace(name, read_entry(name, entry, begin));
        }
        check_layout(begin);
    }

    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
    [[nodiscard]] const std::map<std::string, tensor_info>& tensors() const { return tensors_; }
    [[nodiscard]] bool contains(const std::string& name) const { return tensors_.count(name) != 0; }

    /// Throws io_error where there is no such tensor.
    [[nodiscard]] const tensor_info& at(const std::string& name) const {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) throw io_error(path().string() + ": no tensor \"" + name + "\"");
        return found->second;
    }
    /// Throws io_error where there is no such key.
    [[nodiscard]] const std::string& metadata(const std::string& key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) throw io_error(path().string() + ": no metadata \"" + key + "\"");
        return found->second;
    }

    /// Reads every tensor whose hash the metadata holds (see `safetensors_writer::hash_contents`), and compares; so for the
    /// metadata. False where there are no hashes of tensors. A tensor that another tool has converted to another element
    /// type since is passed over. Throws io_error, naming the tensor or the key: its bytes have changed since they were
    /// written, or it is missing.
    bool verify() {
        const json of_metadata = hashes_under(metadata_hash_key);
        for (const auto& [key, expected] : of_metadata.items())
            if (expected != hash_of(metadata(key)))
                throw io_error(path().string() + ": metadata \"" + key +
                               "\" is damaged: it is not what was written (its hash differs)");
        if (metadata_.count(hash_key) == 0) return false;
        const json hashes = hashes_under(hash_key);
        std::vector<std::byte> piece;
        for (const auto& [name, expected] : hashes.items()) {
            if (!contains(name)) throw io_error(path().string() + ": tensor \"" + name + "\" is missing");
            const tensor_info& tensor = at(name);
            const std::string text = expected.is_string() ? expected.get<std::string>() : "";
            const std::size_t colon = text.find(':');
            if (colon != std::string::npos && text.substr(0, colon) != tensor.dtype_name) continue;
            content_hash hash;
            for (std::uint64_t done = 0; done < tensor.bytes; done += piece.size()) {
                piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(tensor.bytes - done, 1 << 20)));
                file_.read(tensor.offset + done, piece, "tensor \"" + name + "\"");
                hash.bytes(piece);
            }
            if (text != tensor.dtype_name + ":" + hash.hex())
                throw io_error(path().string() + ": tensor \"" + name +
                               "\" is damaged: its bytes are not those that were written (their hash differs)");
            hashed_.insert(name);
        }
        return true;
    }
    /// Was this tensor's hash compared by `verify`?
    [[nodiscard]] bool verified(const std::string& name) const { return hashed_.count(name) != 0; }

    /// The tensor, of exactly this element type.
    template <class T>
    [[nodiscard]] array<T> read(const std::string& name) {
        const tensor_info& tensor = at(name);
        require_type(name, tensor, tensor.type == dtype_of<T>(), info(dtype_of<T>()).safetensors);
        array<T> result(tensor.shape);
        file_.read(tensor.offset, std::as_writable_bytes(std::span(result.data)), "tensor \"" + name + "\"");
        return result;
    }
    /// The tensor, of exactly this element type and shape, into memory of the caller (a part of a flat buffer). F16 and BF16
    /// are widened where T is float or double.
    template <class T>
    void read_into(const std::string& name, const shape_type& shape, std::span<T> target) {
        const tensor_info& tensor = at(name);
        const bool widened = std::is_floating_point_v<T> && (tensor.type == dtype::f16 || tensor.type == dtype::bf16);
        require_type(name, tensor, widened || tensor.type == dtype_of<T>(), info(dtype_of<T>()).safetensors);
        if (tensor.shape != shape || tensor.size() != static_cast<index_t>(target.size()))
            throw io_error(path().string() + ": tensor \"" + name + "\" has shape " + to_string(tensor.shape) +
                           ", expected " + to_string(shape));
        if (widened) {
            std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
            file_.read(tensor.offset, bytes, "tensor \"" + name + "\"");
            (void)detail::convert<T>(tensor.type, bytes.data(), target);
            return;
        }
        file_.read(tensor.offset, std::as_writable_bytes(target), "tensor \"" + name + "\"");
    }
    /// The tensor converted: any real type to float or double, any integer type to an integer type that holds its values.
    template <class T>
    [[nodiscard]] array<T> read_as(const std::string& name) {
        const tensor_info& tensor = at(name);
        require_type(name, tensor, detail::convertible<T>(tensor.type),
                     is_complex_v<T>               ? "complex numbers"
                     : std::is_floating_point_v<T> ? "real numbers"
                                                   : "one that converts to it");
        std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
        file_.read(tensor.offset, bytes, "tensor \"" + name + "\"");
        array<T> result(tensor.shape);
        if (const auto bad = detail::convert<T>(tensor.type, bytes.data(), result.data))
            file_.fail(tensor.offset + *bad * info(tensor.type).size,
                       "a value of tensor \"" + name + "\" is outside the range of the type asked for");
        return result;
    }

    /// Of a text of the metadata.
    [[nodiscard]] static std::string hash_of(const std::string& text) {
        return content_hash().bytes(std::as_bytes(std::span(text))).hex();
    }

private:
    [[nodiscard]] json hashes_under(const char* key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) return json::object();
        json hashes = parse_json(found->second, path().string() + " (" + key + ")");
        if (!hashes.is_object()) throw io_error(path().string() + ": metadata \"" + key + "\" is not an object");
        return hashes;
    }
    void require_type(const std::string& name, const tensor_info& tensor, bool good, std::string_view expected) const {
        if (!good)
            throw io_error(path().string() + ": tensor \"" + name + "\" is " + tensor.dtype_name + ", expected " +
                           std::string(expected));
    }

    /// A file that is known to be something else is named as that, rather than by what its first bytes mean as a length.
    void refuse_other_kinds() {
        const std::string head = file_.read_text(0, std::min<std::uint64_t>(file_.size(), 512), "first bytes");
        const file_kind kind = kind_of(head, file_.size());
        if (kind != file_kind::safetensors && kind != file_kind::unknown && head.substr(4, 4) != std::string(4, '\0'))
            detail::not_this_kind(file_, "a safetensors file");
        if (kind == file_kind::zeros) detail::not_this_kind(file_, "a safetensors file");
    }

    void read_metadata(const json& entry) {
        if (entry.is_null()) return;
        if (!entry.is_object()) file_.fail(8, "__metadata__ is not an object");
        for (const auto& [key, value] : entry.items()) {
            if (!value.is_string()) file_.fail(8, "__metadata__ \"" + key + "\" is not a string");
            metadata_.emplace(key, value.get<std::string>());
        }
    }

    [[nodiscard]] tensor_info read_entry(const std::string& name, const json& entry, std::uint64_t begin) const {
        const auto fail = [&](const std::string& what) { file_.fail(8, "tensor \"" + name + "\": " + what); };
        if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
            !entry.contains("data_offsets"))
            fail("expected an object of dtype, shape and data_offsets");
        tensor_info tensor;
        const json& type = entry["dtype"];
        if (type.is_string()) tensor.dtype_name = type.get<std::string>();
        const auto known = std::find_if(std::begin(dtype_table), std::end(dtype_table), [&](const dtype_info& row) {
            return !row.safetensors.empty() && row.safetensors == tensor.dtype_name;
        });
        const auto skipped =
            std::find_if(std::begin(detail::skipped_dtypes), std::end(detail::skipped_dtypes),
                         [&](const detail::skipped_dtype& row) { return row.name == tensor.dtype_name; });
        unsigned bits = 0;
        if (known != std::end(dtype_table)) {
            tensor.type = known->type;
            bits = 8 * static_cast<unsigned>(known->size);
        } else if (skipped != std::end(detail::skipped_dtypes)) {
            tensor.type = dtype::other;
            bits = skipped->bits;
        } else {
            fail("unknown dtype " + type.dump());
        }

        const auto is_size = [](const json& value) {
            return value.is_number_unsigned() && value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX};
        };
        const json& shape = entry["shape"];
        if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_size)) fail("bad shape " + shape.dump());
        tensor.shape = shape.get<shape_type>();
        index_t count = 0;
        if (!element_count(tensor.shape, count) || count > INT64_MAX / 64)
            fail("too many elements in shape " + shape.dump());

        const json& offsets = entry["data_offsets"];
        if (!offsets.is_array() || offsets.size() != 2 || !std::all_of(offsets.begin(), offsets.end(), is_size))
            fail("bad data_offsets " + offsets.dump());
        const auto first = offsets[0].get<std::uint64_t>();
        const auto last = offsets[1].get<std::uint64_t>();
        const std::uint64_t available = file_.size() - begin;
        if (first > last || last > available)
            fail("data_offsets " + offsets.dump() + " outside the " + std::to_string(available) + " bytes of data");
        tensor.offset = begin + first;
        tensor.bytes = last - first;
        const std::uint64_t needed_bits = static_cast<std::uint64_t>(count) * bits, needed = needed_bits / 8;
        if (needed_bits % 8 != 0)
            fail("shape " + shape.dump() + " of " + tensor.dtype_name + " is no whole number of bytes");
        if (tensor.bytes != needed)
            fail("shape " + shape.dump() + " needs " + std::to_string(needed) + " bytes, data_offsets hold " +
                 std::to_string(tensor.bytes));
        return tensor;
    }

    /// Every byte of the data belongs to exactly one tensor.
    void check_layout(std::uint64_t begin) const {
        std::vector<std::pair<const std::string*, const tensor_info*>> order;
        for (const auto& [name, tensor] : tensors_) order.emplace_back(&name, &tensor);
        std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
            return std::pair(a.second->offset, a.second->bytes) < std::pair(b.second->offset, b.second->bytes);
        });
        std::uint64_t end = begin;
        for (const auto& [name, tensor] : order) {
            if (tensor->offset != end)
                file_.fail(tensor->offset, "tensor \"" + *name + "\" " +
                                               (tensor->offset < end ? "overlaps the tensor before it"
                                                                     : "leaves a gap after the tensor before it"));
            end += tensor->bytes;
        }
        if (end != file_.size()) file_.fail(end, std::to_string(file_.size() - end) + " bytes belong to no tensor");
    }

    detail::input_file file_;
    std::map<std::string, std::string> metadata_;
    std::map<std::string, tensor_info> tensors_;
    std::set<std::string> hashed_;
};

/// Collects tensors, then writes them as one file, atomically. Tensors are not copied: their memory must live until
/// `write`. Larger elements come first in the file, so that all are aligned.
class safetensors_writer {
public:
    /// A metadata entry. Throws value_error where the key is there already.
    void metadata(const std::string& key, std::string value) {
        check_value("safetensors_writer::metadata", metadata_.emplace(key, std::move(value)).second,
                    "key \"" + key + "\" twice");
    }
    /// The file will hold a hash of each tensor and of each text of the metadata, so that a reader can tell damage:
    /// `safetensors_file::verify`.
    void hash_contents() { hashed_ = true; }
    /// Throws shape_error where the extents do not fit the elements, value_error where the name is there already.
    template <class T>
    void add(const std::string& name, shape_type shape, std::span<const T> elements) {
        static_assert(!info(dtype_of<T>()).safetensors.empty(), "safetensors has no such element type");
        check_size("safetensors_writer::add", "elements of \"" + name + "\"", static_cast<index_t>(elements.size()),
                   element_count(shape));
        check_value("safetensors_writer::add", name != "__metadata__" && names_.insert(name).second,
                    "name \"" + name + "\" is reserved or there already");
        entries_.push_back({name, dtype_of<T>(), std::move(shape), std::as_bytes(elements)});
    }
    template <class T>
    void add(const std::string& name, const array<T>& tensor) {
        add(name, tensor.shape, std::span<const T>(tensor.data));
    }
    template <class T>
    void add(const std::string& name, array<T>&& tensor) = delete;  // a temporary would be gone at write

    /// Of names, types, extents and elements of the tensors, in the order in which they were added: 16 hexadecimal digits.
    [[nodiscard]] std::string hash() const {
        content_hash all;
        for (const entry& e : entries_) {
            all.text(e.name).text(info(e.type).safetensors).number(e.shape.size());
            for (const index_t extent : e.shape) all.number(static_cast<std::uint64_t>(extent));
            all.bytes(e.bytes);
        }
        return all.hex();
    }
    /// Throws io_error; a file already at `path` is then untouched.
    void write(const std::filesystem::path& path) const {
        std::vector<const entry*> order;
        for (const entry& e : entries_) order.push_back(&e);
        std::stable_sort(order.begin(), order.end(),
                         [](const entry* a, const entry* b) { return info(a->type).size > info(b->type).size; });
        auto metadata = metadata_;
        if (hashed_) {
            json hashes = json::object(), of_metadata = json::object();
            for (const auto& [key, text] : metadata_) of_metadata[key] = safetensors_file::hash_of(text);
            metadata.emplace(safetensors_file::metadata_hash_key, of_metadata.dump());
            for (const entry& e : entries_)
                hashes[e.name] = std::string(info(e.type).safetensors) + ":" + content_hash().bytes(e.bytes).hex();
            metadata.emplace(safetensors_file::hash_key, hashes.dump(-1, ' ', false, json::error_handler_t::replace));
        }
        // In the order of the data, which an object of `json` would sort by name.
        std::string text;
        const auto put = [&](const std::string& name, const json& value) {
            text += (text.empty() ? '{' : ',') + json(name).dump() + ':' + value.dump();
        };
        try {
            if (!metadata.empty()) put("__metadata__", metadata);
            std::uint64_t offset = 0;
            for (const entry* e : order) {
                put(e->name, {{"dtype", info(e->type).safetensors},
                              {"shape", e->shape},
                              {"data_offsets", {offset, offset + e->bytes.size()}}});
                offset += e->bytes.size();
            }
            text += text.empty() ? "{}" : "}";
        } catch (const json::exception& e) {  // a name that is not UTF-8
            throw io_error(path.string() + ": " + e.what());
        }
        text.append((8 - text.size() % 8) % 8, ' ');
        const std::uint64_t length = text.size();
        atomic_file file(path);
        file.write(std::as_bytes(std::span(&length, 1)));
        file.write(text);
        for (const entry* e : order) file.write(e->bytes);
        file.commit();
    }

private:
    struct entry {
        std::string name;
        dtype type;
        shape_type shape;
        std::span<const std::byte> bytes;
    };
    std::map<std::string, std::string> metadata_;
    std::set<std::string> names_;
    std::vector<entry> entries_;
    bool hashed_ = false;
};

}  // namespace diem::io
