// SPDX-License-Identifier: Apache-2.0
#include <diem/io/npy.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto path = fuzz::file_of(data, size);
    fuzz::tolerate([&] { (void)diem::io::load_npy_numbers<float>(path); });
    fuzz::tolerate([&] { (void)diem::io::load_npy<double>(path); });
    fuzz::tolerate([&] { (void)diem::io::load_npy_as<std::int32_t>(path); });
    return 0;
}
