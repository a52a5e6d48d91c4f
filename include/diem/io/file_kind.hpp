// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <diem/io/detail/input_file.hpp>

/// \file
/// What a file is, by its first bytes: for messages about a file that is no such file, and to pick a reader.
/// \snippet tests/examples/io.cpp io/file_kind.hpp

namespace diem::io {

enum class file_kind {
    unknown,
    empty,
    npy,
    safetensors,
    cfl_header,
    hdf5,
    matlab_hdf5,
    fits,
    tiff,
    png,
    jpeg,
    matlab5,
    npz,
    pytorch,
    zip,
    gzip,
    compressed,
    tar,
    git_lfs,
    html,
    xml,
    json_text,
    pickle,
    gguf,
    dicom,
    nifti,
    pdf,
    zeros,
    text
};

/// "an HTML page": a noun for messages, with the remedy where there is one; "" for `unknown`.
[[nodiscard]] constexpr std::string_view describe(file_kind kind) {
    switch (kind) {
        case file_kind::unknown:
            return "";
        case file_kind::empty:
            return "an empty file";
        case file_kind::npy:
            return "an npy file (NumPy)";
        case file_kind::safetensors:
            return "a safetensors file";
        case file_kind::cfl_header:
            return "the header (.hdr) of a BART file; its data is the .cfl file";
        case file_kind::hdf5:
            return "an HDF5 file";
        case file_kind::matlab_hdf5:
            return "a MATLAB v7.3 file (HDF5)";
        case file_kind::fits:
            return "a FITS file";
        case file_kind::tiff:
            return "a TIFF image";
        case file_kind::png:
            return "a PNG image";
        case file_kind::jpeg:
            return "a JPEG image";
        case file_kind::matlab5:
            return "a MATLAB file before v7.3 (save it with -v7.3)";
        case file_kind::npz:
            return "a NumPy .npz archive (save each of its arrays by numpy.save)";
        case file_kind::pytorch:
            return "a PyTorch file (save its tensors as safetensors)";
        case file_kind::zip:
            return "a zip archive";
        case file_kind::gzip:
            return "a gzip archive (unpack it first)";
        case file_kind::compressed:
            return "a compressed archive (unpack it first)";
        case file_kind::tar:
            return "a tar archive (unpack it first)";
        case file_kind::git_lfs:
            return "a git-lfs pointer, not the file itself (run git lfs pull)";
        case file_kind::html:
            return "an HTML page (a download that gave a web page instead of the file)";
        case file_kind::xml:
            return "an XML text";
        case file_kind::json_text:
            return "a JSON text";
        case file_kind::pickle:
            return "a Python pickle";
        case file_kind::gguf:
            return "a GGUF file";
        case file_kind::dicom:
            return "a DICOM file";
        case file_kind::nifti:
            return "a NIfTI image";
        case file_kind::pdf:
            return "a PDF";
        case file_kind::zeros:
            return "a file of zeros only (an unfinished download or copy)";
        case file_kind::text:
            return "a text file";
    }
    return "";
}

/// The kind of a file whose first bytes are `head` (512 tell all kinds apart) and whose size is `size`.
[[nodiscard]] inline file_kind kind_of(std::string_view head, std::uint64_t size) {
    using namespace std::string_view_literals;
    if (size == 0) return file_kind::empty;
    const auto at = [&](std::size_t offset, std::string_view magic) {
        return head.size() >= offset && head.substr(offset, magic.size()) == magic;
    };
    struct signature {
        std::size_t offset;
        std::string_view magic;
        file_kind kind;
    };
    constexpr signature signatures[] = {
        {0, "\x93NUMPY"sv, file_kind::npy},
        {0, "MATLAB 7.3 MAT-file"sv, file_kind::matlab_hdf5},
        {0, "MATLAB 5.0 MAT-file"sv, file_kind::matlab5},
        {0, "\x89HDF\r\n\x1a\n"sv, file_kind::hdf5},
        {0, "SIMPLE  ="sv, file_kind::fits},
        {0, "II*\0"sv, file_kind::tiff},
        {0, "MM\0*"sv, file_kind::tiff},
        {0, "II+\0"sv, file_kind::tiff},
        {0, "MM\0+"sv, file_kind::tiff},
        {0, "\x89PNG\r\n\x1a\n"sv, file_kind::png},
        {0, "\xff\xd8\xff"sv, file_kind::jpeg},
        {0, "\x1f\x8b"sv, file_kind::gzip},
        {0, "BZh"sv, file_kind::compressed},
        {0,
         "\xfd"
         "7zXZ\0"sv,
         file_kind::compressed},
        {0, "\x28\xb5\x2f\xfd"sv, file_kind::compressed},
        {0, "7z\xbc\xaf\x27\x1c"sv, file_kind::compressed},
        {0, "Rar!\x1a\x07"sv, file_kind::compressed},
        {0, "version https://git-lfs.github.com/spec"sv, file_kind::git_lfs},
        {0, "GGUF"sv, file_kind::gguf},
        {0, "%PDF-"sv, file_kind::pdf},
        {0, "# Dimensions"sv, file_kind::cfl_header},
        {128, "DICM"sv, file_kind::dicom},
        {257, "ustar"sv, file_kind::tar},
        {344, "n+1\0"sv, file_kind::nifti},
        {344, "ni1\0"sv, file_kind::nifti},
    };
    for (const signature& s : signatures)
        if (at(s.offset, s.magic)) return s.kind;
    if (at(0, "PK\3\4"sv) || at(0, "PK\5\6"sv)) {
        if (head.find("data.pkl"sv) != head.npos || head.find(".format_version"sv) != head.npos)
            return file_kind::pytorch;
        return head.find(".npy"sv) != head.npos ? file_kind::npz : file_kind::zip;
    }
    if (head.size() > 9 && head.substr(4, 5) == "\0\0\0\0{"sv) return file_kind::safetensors;  // a length below 4 GiB
    if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) return file_kind::pickle;
    if (head.find_first_not_of('\0') == head.npos) return file_kind::zeros;

    std::string_view text = head;
    if (text.substr(0, 3) == "\xef\xbb\xbf"sv) text.remove_prefix(3);
    if (const auto first = text.find_first_not_of(" \t\r\n"); first != text.npos) text.remove_prefix(first);
    std::string lower(text.substr(0, 256));
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.starts_with("<head") ||
        (lower.starts_with("<") && lower.find("<html") != lower.npos))
        return file_kind::html;
    if (lower.starts_with("<?xml") || lower.starts_with("<!doctype")) return file_kind::xml;
    const bool printable = std::all_of(head.begin(), head.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte >= 32 ? byte != 127 : c == '\t' || c == '\r' || c == '\n' || c == '\f';
    });
    if (!printable) return file_kind::unknown;
    return lower.starts_with("{") || lower.starts_with("[") ? file_kind::json_text : file_kind::text;
}

namespace detail {
/// Throws io_error: "PATH: not an npy file: it is an HTML page (...)". `expected`: "an npy file".
[[noreturn]] inline void not_this_kind(input_file& file, std::string_view expected) {
    const std::uint64_t size = std::min<std::uint64_t>(file.size(), 512);
    const auto what = describe(kind_of(file.read_text(0, size, "first bytes"), file.size()));
    file.fail(0, "not " + std::string(expected) + (what.empty() ? "" : ": it is " + std::string(what)));
}
}  // namespace detail

/// The kind of a file. Throws io_error where it cannot be read.
[[nodiscard]] inline file_kind kind_of(const std::filesystem::path& path) {
    detail::input_file file(path);
    return kind_of(file.read_text(0, std::min<std::uint64_t>(file.size(), 512), "first bytes"), file.size());
}

}  // namespace diem::io
