// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <diem/core/error.hpp>

/// What the targets share. A target is libFuzzer's LLVMFuzzerTestOneInput: readers either succeed or throw one of diem's
/// exceptions; anything else (a crash, another exception, a sanitizer's finding, memory far beyond the input) is a fault.
namespace fuzz {

/// A file of these bytes, in memory where the system has a place for that. One per program and name.
inline std::filesystem::path file_of(const std::uint8_t* data, std::size_t size, const std::string& name = "input") {
    static const std::filesystem::path folder = [] {
        const std::filesystem::path base =
            std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path().string();
        auto path = base / ("diem-fuzz-" + std::to_string(::getpid()));
        std::filesystem::create_directories(path);
        std::atexit([] {
            std::error_code code;
            for (const char* place : {"/dev/shm", "/tmp"})
                std::filesystem::remove_all(std::filesystem::path(place) / ("diem-fuzz-" + std::to_string(::getpid())),
                                            code);
        });
        return path;
    }();
    const auto path = folder / name;
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || (size > 0 && std::fwrite(data, 1, size, file) != size)) std::abort();
    std::fclose(file);
    return path;
}

/// Runs a reader; diem's exceptions are its right answer to a bad input.
template <class F>
void tolerate(F&& read) {
    try {
        read();
    } catch (const diem::error&) {
    }
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
