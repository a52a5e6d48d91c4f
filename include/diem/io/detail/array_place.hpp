// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace diem::io::detail {

/// FILE or FILE::NAME.
struct array_place {
    std::filesystem::path path;
    std::string name;
};
[[nodiscard]] inline array_place place_of(const std::filesystem::path& given) {
    const std::string text = given.string();
    const auto at = text.rfind("::");
    if (at == std::string::npos || at == 0) return {given, ""};
    return {text.substr(0, at), text.substr(at + 2)};
}

}  // namespace diem::io::detail
