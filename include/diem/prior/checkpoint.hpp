// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/core/bfloat16.hpp>
#include <diem/core/check.hpp>
#include <diem/io/json.hpp>
#include <diem/io/safetensors.hpp>
#include <diem/nn/parameters.hpp>

/// \file
/// Files that hold weights and the state of a run: safetensors with JSON in the metadata.
///
/// A tensor is a named array of a flat buffer of weights, or a batch as (items, features). Metadata: "format" = "diem", "version" = "1", "config" (how the model is built), "state" (counters, seeds), and hashes of
/// these texts and of the tensors, which a reader compares.
/// \snippet tests/examples/prior.cpp prior/checkpoint.hpp

namespace diem::prior {

inline constexpr const char* checkpoint_version = "1";

/// Gathers arrays from a backend's memory, then writes all of them at once, atomically: until then a file already there is
/// untouched.
template <Backend B>
class checkpoint_writer {
    using T = scalar_t<B>;

public:
    checkpoint_writer(const io::json& config, const io::json& state) {
        writer_.hash_contents();
        writer_.metadata("format", "diem");
        writer_.metadata("version", checkpoint_version);
        writer_.metadata("config", config.dump());
        writer_.metadata("state", state.dump());
    }
    /// Every array of a flat buffer, of the backend's scalar or of bfloat16, as `prefix` + name. Where host code may read its memory
    /// it is not copied, and must live until `write`; so for `batch_as`.
    template <class P>
    void flat(B& b, const std::string& prefix, const nn::parameter_table& table, const vector_view<P>& buffer) {
        check_size("checkpoint_writer", "buffer", buffer.size(), table.size());
        const auto values = on_host(b, as_batch(buffer));
        for (const nn::parameter& p : table.entries())
            writer_.add(prefix + p.name, p.shape,
                        values.subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.size)));
    }
    /// A batch as (items, features).
    void batch_as(B& b, const std::string& name, const_view_t<B> v) {
        writer_.add(name, {v.items(), v.features()}, on_host(b, v));
    }
    /// Of all arrays, see `io::safetensors_writer::hash`.
    [[nodiscard]] std::string hash() const { return writer_.hash(); }
    /// Throws io_error.
    void write(const std::filesystem::path& path) const { writer_.write(path); }

private:
    /// The elements, copied where host code may not read them where they are, or not one after another.
    template <class P>
    auto on_host(B& b, const batch_view<P>& v) {
        using U = typename batch_view<P>::value_type;
        if constexpr (HasLargeBlocks<B>)
            if (v.contiguous()) return std::span<const U>(v.data(), static_cast<std::size_t>(v.size()));
        const auto copy = std::make_shared<const std::vector<U>>(to_host(b, v));
        copies_.push_back(copy);
        return std::span<const U>(*copy);
    }

    io::safetensors_writer writer_;
    std::vector<std::shared_ptr<const void>> copies_;
};

/// Reads what `checkpoint_writer` wrote, into host memory: nothing of the caller changes before everything was found right.
/// Throws io_error: not such a file, truncated, damaged (a hash differs), a missing name, another shape or element
/// type (F16 and BF16 are widened), numbers that are not finite, unknown names. Tensors that another tool added to a file with hashes do no harm.
template <Backend B>
class checkpoint_reader {
    using T = scalar_t<B>;

public:
    explicit checkpoint_reader(const std::filesystem::path& path) : file_(path) {
        if (file_.metadata("format") != "diem")
            fail("format is \"" + file_.metadata("format") + "\", expected \"diem\"");
        if (file_.metadata("version") != checkpoint_version)
            fail("version is \"" + file_.metadata("version") + "\", expected \"" + checkpoint_version + "\"");
        config_ = io::parse_json(file_.metadata("config"), path.string() + " (config)");
        state_ = io::parse_json(file_.metadata("state"), path.string() + " (state)");
        if (!state_.is_object()) fail("state is not an object");
        verified_ = file_.verify();
    }

    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    [[nodiscard]] const io::json& config() const { return config_; }
    [[nodiscard]] const io::json& state() const { return state_; }
    /// What a user should know of this file; "" for nothing.
    [[nodiscard]] std::string note() const {
        for (const std::string& name : known_)
            if (verified_ && !file_.verified(name))
                return path().string() + ": tensor \"" + name +
                       "\" was converted since it was written, and holds no hash";
        return verified_
                   ? ""
                   : path().string() + ": holds no hashes (an older file), so that damage to it would pass unnoticed";
    }
    /// An entry of the state, of this type; integers are counts, from 0 on. Throws io_error.
    template <class V>
    [[nodiscard]] V state(const std::string& key) const {
        if (!state_.contains(key)) fail("state has no \"" + key + "\"");
        if constexpr (std::is_integral_v<V> && !std::is_same_v<V, bool>) {
            const io::json& value = state_.at(key);
            if (!value.is_number_unsigned() || !std::in_range<V>(value.template get<std::uint64_t>()))
                fail("state \"" + key + "\" is " + value.dump() + ", expected an integer of at least 0");
        }
        try {
            return state_.at(key).template get<V>();
        } catch (const io::json::exception& e) {
            fail("state \"" + key + "\": " + e.what());
        }
    }
    [[nodiscard]] bool contains(const std::string& name) const { return file_.contains(name); }

    [[nodiscard]] std::vector<T> flat(const std::string& prefix, const nn::parameter_table& table) {
        std::vector<T> values(static_cast<std::size_t>(table.size()));
        for (const nn::parameter& p : table.entries()) {
            file_.read_into(
                prefix + p.name, p.shape,
                std::span<T>(values).subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.size)));
            check_finite(prefix + p.name,
                         std::span<const T>(values.data() + p.offset, static_cast<std::size_t>(p.size)));
            known_.insert(prefix + p.name);
        }
        return values;
    }
    [[nodiscard]] std::vector<T> batch_as(const std::string& name, index_t features, index_t items) {
        const io::shape_type shape{items, features};
        if (file_.at(name).shape != shape)  // before anything is allocated
            fail("tensor \"" + name + "\" has shape " + io::to_string(file_.at(name).shape) + ", expected " +
                 io::to_string(shape));
        std::vector<T> values(static_cast<std::size_t>(features * items));
        read_batch(name, shape, values);
        return values;
    }
    /// The same into a batch of its size.
    void batch_into(B& b, const std::string& name, view_t<B> to) {
        if constexpr (HasLargeBlocks<B>)
            if (to.contiguous())
                return read_batch(name, {to.items(), to.features()},
                                  std::span<T>(to.data(), static_cast<std::size_t>(to.size())));
        const auto values = batch_as(name, to.features(), to.items());
        b.upload(host_view<const T>(values.data(), to.features(), to.items()), to);
    }
    /// Tensors whose names begin so are known, and not read.
    void skip_prefix(const std::string& prefix) {
        for (const auto& [name, tensor] : file_.tensors())
            if (name.rfind(prefix, 0) == 0) known_.insert(name);
    }
    /// Throws io_error where the file holds a tensor of diem's that nobody asked for: it belongs to another model.
    void finish() const {
        for (const auto& [name, tensor] : file_.tensors())
            if (known_.count(name) == 0 && (file_.verified(name) || (!verified_ && tensor.type == io::dtype_of<T>())))
                fail("unexpected tensor \"" + name + "\"");
    }
    [[noreturn]] void fail(const std::string& what) const { throw io_error(path().string() + ": " + what); }

private:
    void read_batch(const std::string& name, const io::shape_type& shape, std::span<T> values) {
        file_.read_into(name, shape, values);
        check_finite(name, values);
        known_.insert(name);
    }
    void check_finite(const std::string& name, std::span<const T> values) const {
        for (std::size_t k = 0; k < values.size(); ++k)
            if (!std::isfinite(values[k]))
                fail("tensor \"" + name + "\": element " + std::to_string(k) + " is not finite");
    }

    io::safetensors_file file_;
    io::json config_, state_;
    std::set<std::string> known_;
    bool verified_ = false;
};

/// To a flat buffer of the same scalar, or of bfloat16, to nearest.
template <Backend B, class T, class P>
void upload_flat(B& b, const std::vector<T>& values, const vector_view<P>& to) {
    using U = typename vector_view<P>::value_type;
    if constexpr (std::is_same_v<T, U>) {
        b.upload(host_view<const U>(values.data(), to.size(), 1), as_batch(to));
    } else {
        std::vector<U> rounded(values.size());
        std::transform(values.begin(), values.end(), rounded.begin(),
                       [](T x) { return nearest_bfloat16(static_cast<float>(x)); });
        upload_flat(b, rounded, to);
    }
}

}  // namespace diem::prior
