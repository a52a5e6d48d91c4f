// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/io/json.hpp>

/// \file
/// Typed reading of JSON configurations: every error is a config_error that names the key by its path ("net.heads.1").
/// \snippet tests/examples/io.cpp io/config.hpp

namespace diem::io {

/// Throws config_error: file, key and what is wrong.
[[noreturn]] inline void config_fail(const std::string& where, const std::string& path, const std::string& what) {
    throw config_error(where + ": " + (path.empty() ? "(top)" : "\"" + path + "\"") + ": " + what);
}
namespace detail {

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_string_map = false;
template <class T>
inline constexpr bool is_string_map<std::map<std::string, T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// The value shortened, for messages.
[[nodiscard]] inline std::string excerpt(const json& value) {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

/// Strict conversion: no number from a string, no integer from 3.0, no overflow.
template <class T>
[[nodiscard]] T config_value(const json& value, const std::string& where, const std::string& path) {
    const auto expected = [&](const char* what) {
        config_fail(where, path, std::string("expected ") + what + ", got " + excerpt(value));
    };
    if constexpr (std::is_same_v<T, json>) {
        return value;
    } else if constexpr (is_optional<T>) {
        if (value.is_null()) return std::nullopt;
        return config_value<typename T::value_type>(value, where, path);
    } else if constexpr (is_vector<T>) {
        if (!value.is_array()) expected("an array");
        T result;
        for (std::size_t k = 0; k < value.size(); ++k)
            result.push_back(
                config_value<typename T::value_type>(value[k], where, path + "[" + std::to_string(k) + "]"));
        return result;
    } else if constexpr (is_string_map<T>) {
        if (!value.is_object()) expected("an object");
        T result;
        for (const auto& [key, entry] : value.items())
            result.emplace(key, config_value<typename T::mapped_type>(entry, where, path + "." + key));
        return result;
    } else if constexpr (std::is_same_v<T, bool>) {
        if (!value.is_boolean()) expected("true or false");
        return value.get<bool>();
    } else if constexpr (std::integral<T>) {
        if (!value.is_number_integer()) expected("an integer");
        const bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<std::uint64_t>())
                                                     : std::in_range<T>(value.get<std::int64_t>());
        if (!fits) config_fail(where, path, "integer out of range: " + excerpt(value));
        return value.get<T>();
    } else if constexpr (std::floating_point<T>) {
        if (!value.is_number()) expected("a number");
        const T number = value.get<T>();
        if (!std::isfinite(number)) config_fail(where, path, "number out of range: " + excerpt(value));
        return number;
    } else {
        static_assert(std::is_same_v<T, std::string>, "a configuration has no values of this type");
        if (!value.is_string()) expected("a string");
        return value.get<std::string>();
    }
}

}  // namespace detail

/// A value just read, for checks of its range; each throws config_error with the key and the value.
template <class T>
class config_check {
public:
    config_check(const T& value, std::string where, std::string path)
        : value_(value), where_(std::move(where)), path_(std::move(path)) {}
    const config_check& at_least(const T& bound) const { return require(value_ >= bound, "at least ", bound); }
    const config_check& at_most(const T& bound) const { return require(value_ <= bound, "at most ", bound); }
    const config_check& above(const T& bound) const { return require(value_ > bound, "above ", bound); }
    const config_check& below(const T& bound) const { return require(value_ < bound, "below ", bound); }
    /// One of a list of names.
    const config_check& one_of(const std::vector<T>& allowed) const {
        for (const T& candidate : allowed)
            if (value_ == candidate) return *this;
        return require(false, "one of ", json(allowed));
    }
    /// Any other condition; `what` ends the sentence "... is <value>, expected ".
    const config_check& satisfies(bool condition, const std::string& what) const {
        if (!condition) config_fail(where_, path_, "is " + detail::excerpt(json(value_)) + ", expected " + what);
        return *this;
    }

private:
    template <class Bound>
    const config_check& require(bool condition, const char* relation, const Bound& bound) const {
        return satisfies(condition, relation + json(bound).dump());
    }
    const T& value_;
    std::string where_, path_;
};

/// One JSON object being read. Keys that nobody asked for are errors, see `read_config`.
class config_object {
public:
    /// `where` names the file, `path` the object inside it.
    config_object(const json& object, std::string where, std::string path)
        : object_(object), where_(std::move(where)), path_(std::move(path)) {
        if (!object_.is_object()) config_fail(where_, path_, "expected an object, got " + detail::excerpt(object_));
    }

    [[nodiscard]] bool contains(const std::string& key) const { return object_.contains(key); }

    /// Reads `key` into `target`, which must be there.
    template <class T>
    config_check<T> required(const std::string& key, T& target) {
        if (!contains(key)) config_fail(where_, child(key), "is missing");
        return optional(key, target);
    }
    /// Reads `key` into `target` where it is there; else `target` keeps its value.
    template <class T>
    config_check<T> optional(const std::string& key, T& target) {
        know(key);
        if (contains(key)) target = detail::config_value<T>(object_.at(key), where_, child(key));
        return {target, where_, child(key)};
    }
    /// Reads the object at `key`, where it is there, by calling `read(config_object&)`; true where it was.
    template <class Read>
    bool object(const std::string& key, Read&& read) {
        know(key);
        if (!contains(key)) return false;
        config_object inner(object_.at(key), where_, child(key));
        read(inner);
        inner.finish();
        return true;
    }
    /// A key that may be there and is read elsewhere, or means nothing ("comment").
    void ignore(const std::string& key) { know(key); }
    /// An error of this object's own, e.g. two keys that do not go together.
    [[noreturn]] void fail(const std::string& key, const std::string& what) const {
        config_fail(where_, child(key), what);
    }

    /// Throws config_error for a key that was not asked for, naming those that were.
    void finish() const {
        for (const auto& [key, value] : object_.items()) {
            if (is_known(key)) continue;
            std::string list;
            for (const std::string& name : known_) list += (list.empty() ? "" : ", ") + name;
            config_fail(where_, child(key), "unknown key; known here: " + (list.empty() ? "none" : list));
        }
    }

private:
    void know(const std::string& key) {
        if (!is_known(key)) known_.push_back(key);
    }
    [[nodiscard]] bool is_known(const std::string& key) const {
        return std::find(known_.begin(), known_.end(), key) != known_.end();
    }
    [[nodiscard]] std::string child(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

    const json& object_;
    std::string where_, path_;
    std::vector<std::string> known_;
};

/// A configuration and the name of its file, for messages.
struct config_source {
    json value;
    std::string where = "configuration";
};

/// Reads a configuration file; comments are allowed. Throws io_error where it is missing or no JSON.
[[nodiscard]] inline config_source load_config(const std::filesystem::path& path) {
    return {load_json(path, {.comments = true}), path.string()};
}

/// "a.b=VALUE" sets key b of the object at a, which is made where it is not there. VALUE is JSON, or a string where it is none.
/// Throws config_error: no "=", an empty key, more than 64 of them, or what is on the way is no object.
inline void set_entry(config_source& source, const std::string& assignment) {
    const auto end = assignment.find('=');
    if (end == std::string::npos) config_fail(source.where, assignment, "expected KEY=VALUE");
    const std::string path = assignment.substr(0, end), text = assignment.substr(end + 1);
    if (std::count(path.begin(), path.end(), '.') >= json_options{}.max_depth)
        config_fail(source.where, assignment.substr(0, 60) + "...", "nested too deeply");
    json* at = &source.value;
    for (std::size_t first = 0; first <= path.size();) {
        const std::size_t next = std::min(path.find('.', first), path.size());
        if (next == first) config_fail(source.where, assignment, "expected KEY=VALUE, with no empty key");
        if (!at->is_object() && !at->is_null())
            config_fail(source.where, path.substr(0, first - 1), "is no object, so that it has no keys to set");
        at = &(*at)[path.substr(first, next - first)];
        first = next + 1;
    }
    try {
        *at = parse_json(text, source.where);
    } catch (const io_error&) {
        *at = text;
    }
}

/// Calls `read(config_object&)` for the top object, then refuses keys that were not asked for.
template <class Read>
void read_config(const config_source& source, Read&& read) {
    config_object object(source.value, source.where, "");
    read(object);
    object.finish();
}

}  // namespace diem::io
