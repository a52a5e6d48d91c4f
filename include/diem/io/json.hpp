// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <diem/core/error.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>

/// \file
/// JSON, read strictly and written atomically.
/// \snippet tests/examples/io.cpp io/json.hpp

namespace diem::io {

using json = nlohmann::json;

struct json_options {
    bool comments = false;  ///< allow // and /* */
    int max_depth = 64;     ///< of nested objects and arrays
};

namespace detail {
/// An input iterator that tells how far it came.
struct counting_iterator {
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;
    const char* at;
    const char** seen;
    reference operator*() const { return *at; }
    counting_iterator& operator++() {
        *seen = ++at;
        return *this;
    }
    counting_iterator operator++(int) {
        counting_iterator before = *this;
        ++*this;
        return before;
    }
    bool operator==(const counting_iterator& other) const { return at == other.at; }
    bool operator!=(const counting_iterator& other) const { return at != other.at; }
};
}  // namespace detail

/// Strict JSON: a key that occurs twice in an object, or too deep a nesting, is an error like any other. `where` names
/// the text in messages (a path). Throws io_error with `where` and the byte offset.
[[nodiscard]] inline json parse_json(std::string_view text, const std::string& where, const json_options& options = {},
                                     std::size_t base_offset = 0) {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const char* seen = begin;
    const auto fail = [&](std::size_t offset, const std::string& what) {
        throw io_error(where + ": offset " + std::to_string(base_offset + offset) + ": " + what);
    };

    std::vector<std::set<std::string>> keys;
    std::string last;  // key before what is wrong
    const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
        using event_t = json::parse_event_t;
        const auto offset = static_cast<std::size_t>(seen - begin);
        if (event == event_t::object_start || event == event_t::array_start) {
            if (depth >= options.max_depth) fail(offset, "JSON nested too deeply");
            if (event == event_t::object_start) keys.emplace_back();
        } else if (event == event_t::object_end) {
            keys.pop_back();
        } else if (event == event_t::key) {
            last = parsed.get<std::string>();
            if (!keys.back().insert(last).second) fail(offset, "JSON key \"" + last + "\" occurs twice");
        }
        return true;
    };
    try {
        return json::parse(detail::counting_iterator{begin, &seen}, detail::counting_iterator{end, &seen}, check, true,
                           options.comments);
    } catch (const json::exception& e) {
        const auto* at = dynamic_cast<const json::parse_error*>(&e);
        const std::size_t byte = at != nullptr ? at->byte : static_cast<std::size_t>(seen - begin);
        std::string what = e.what();  // repeats what it read, which may be long
        if (what.size() > 200) what = what.substr(0, 120) + "..." + what.substr(what.size() - 60);
        fail(byte > 0 ? byte - 1 : 0, (last.empty() ? "" : "after the key \"" + last + "\": ") + what);
        throw;  // unreachable
    }
}

/// The JSON in a file. Throws io_error.
[[nodiscard]] inline json load_json(const std::filesystem::path& path, const json_options& options = {}) {
    detail::input_file file(path);
    const std::string text = file.read_text(0, file.size(), "text");
    return parse_json(text, path.string(), options);
}

/// Writes JSON atomically, indented, with a final newline. NaN and infinity become null.
inline void save_json(const std::filesystem::path& path, const json& value) {
    write_atomically(path, value.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace diem::io
