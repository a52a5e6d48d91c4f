// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <diem/core/error.hpp>

/// \file
/// The few sizes that reconstruction needs from the XML header of ISMRMRD, as fastMRI's files hold it.
/// \snippet tests/examples/io.cpp io/ismrmrd_header.hpp

namespace diem::io {

/// Matrix sizes x (readout), y, z, and the lines of phase encoding that were measured. 0 where the header does not say.
struct ismrmrd_header {
    std::int64_t encoded[3] = {0, 0, 0};
    std::int64_t reconstructed[3] = {0, 0, 0};
    struct limits {
        std::int64_t minimum = 0, maximum = 0, center = 0;
    };
    std::optional<limits> lines;                      ///< kspace_encoding_step_1
    double encoded_view = 0, reconstructed_view = 0;  ///< field of view along x, mm
    std::string trajectory;                           ///< "cartesian", "radial", ...
};

namespace detail {

/// The text of the first element at this path of local names, which begins below the root; "" where there is none.
/// Comments, declarations and CDATA are stepped over. Throws io_error where tags do not match.
[[nodiscard]] inline std::string_view xml_text(std::string_view xml, std::initializer_list<std::string_view> path,
                                               const std::string& where) {
    const auto fail = [&](std::size_t at, const char* what) {
        throw io_error(where + ": offset " + std::to_string(at) + ": XML: " + what);
    };
    const auto local = [](std::string_view name) {
        const auto colon = name.find(':');
        return colon == std::string_view::npos ? name : name.substr(colon + 1);
    };
    std::vector<std::string_view> open;
    for (std::size_t at = xml.find('<'); at != std::string_view::npos; at = xml.find('<', at)) {
        const std::string_view rest = xml.substr(at);
        const std::string_view end_mark = rest.starts_with("<!--")        ? "-->"
                                          : rest.starts_with("<![CDATA[") ? "]]>"
                                          : rest.starts_with("<?")        ? "?>"
                                                                          : ">";
        const std::size_t end = xml.find(end_mark, at);
        if (end == std::string_view::npos) fail(at, "a tag without end");
        const std::size_t next = end + end_mark.size();
        if (end_mark.size() > 1 || rest.starts_with("<!")) {
            at = next;
            continue;
        }
        std::string_view tag = xml.substr(at + 1, end - at - 1);
        const bool closes = tag.starts_with('/'), empty = tag.ends_with('/');
        if (closes) tag.remove_prefix(1);
        const std::string_view name = local(tag.substr(0, tag.find_first_of(" \t\r\n/")));
        if (name.empty()) fail(at, "a tag without a name");
        if (closes) {
            if (open.empty() || open.back() != name) fail(at, "an end tag that does not match");
            open.pop_back();
        } else if (!empty) {
            if (open.size() == 64) fail(at, "nested too deeply");
            open.push_back(name);
            if (open.size() == path.size() + 1 && std::equal(path.begin(), path.end(), open.begin() + 1)) {
                const std::size_t text_end = xml.find('<', next);
                if (text_end == std::string_view::npos) fail(at, "an element without end");
                return xml.substr(next, text_end - next);
            }
        }
        at = next;
    }
    if (!open.empty()) fail(xml.size(), "an element without end");
    return {};
}

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}
[[nodiscard]] inline std::optional<std::int64_t> xml_count(std::string_view xml,
                                                           std::initializer_list<std::string_view> path,
                                                           const std::string& where) {
    const std::string_view text = trimmed(xml_text(xml, path, where));
    if (text.empty()) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || value < 0 || value > 1'000'000)
        throw io_error(where + ": XML: \"" + std::string(*(path.end() - 1)) + "\" is \"" +
                       std::string(text.substr(0, 40)) + "\", expected a count of at most 1000000");
    return value;
}

/// Millimetres; 0 where the header does not say.
[[nodiscard]] inline double xml_length(std::string_view xml, std::initializer_list<std::string_view> path,
                                       const std::string& where) {
    std::string_view text = trimmed(xml_text(xml, path, where));
    if (text.empty()) return 0;
    double value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || !(value > 0 && value <= 1e6))
        throw io_error(where + ": XML: \"" + std::string(*(path.end() - 1)) + "\" is \"" +
                       std::string(text.substr(0, 40)) + "\", expected a length of at most 1e6 mm");
    return value;
}

}  // namespace detail

/// Reads the header; `where` names it in messages. Throws io_error: no XML, counts that are none.
[[nodiscard]] inline ismrmrd_header parse_ismrmrd_header(std::string_view xml, const std::string& where) {
    if (xml.find("<") == std::string_view::npos) throw io_error(where + ": no XML");
    ismrmrd_header header;
    constexpr std::string_view axes[3] = {"x", "y", "z"};
    for (std::size_t k = 0; k < 3; ++k) {
        header.encoded[k] =
            detail::xml_count(xml, {"encoding", "encodedSpace", "matrixSize", axes[k]}, where).value_or(0);
        header.reconstructed[k] =
            detail::xml_count(xml, {"encoding", "reconSpace", "matrixSize", axes[k]}, where).value_or(0);
    }
    header.encoded_view = detail::xml_length(xml, {"encoding", "encodedSpace", "fieldOfView_mm", "x"}, where);
    header.reconstructed_view = detail::xml_length(xml, {"encoding", "reconSpace", "fieldOfView_mm", "x"}, where);
    header.trajectory = detail::trimmed(detail::xml_text(xml, {"encoding", "trajectory"}, where));
    const auto limit = [&](std::string_view name) {
        return detail::xml_count(xml, {"encoding", "encodingLimits", "kspace_encoding_step_1", name}, where);
    };
    if (const auto maximum = limit("maximum"))
        header.lines = {limit("minimum").value_or(0), *maximum, limit("center").value_or((*maximum + 1) / 2)};
    return header;
}

}  // namespace diem::io
