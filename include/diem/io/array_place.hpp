// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

/// \file
/// FILE::NAME: an array inside a file.
/// \snippet tests/examples/io.cpp io/array_place.hpp

namespace diem::io {

/// FILE or FILE::NAME: a file, and which of its arrays.
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

/// The extension in small letters, ".npy".
[[nodiscard]] inline std::string lower_extension(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return extension;
}

}  // namespace diem::io
