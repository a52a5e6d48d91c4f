// SPDX-License-Identifier: Apache-2.0
#include <diem/io/png.hpp>

#include "fuzz/input.hpp"

/// stb's decoder behind our bounds.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto path = fuzz::file_of(data, size);
    fuzz::tolerate([&] { (void)diem::io::load_png(path); });
    return 0;
}
