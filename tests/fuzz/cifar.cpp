// SPDX-License-Identifier: Apache-2.0
#include <diem/io/cifar.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto path = fuzz::file_of(data, size);
    fuzz::tolerate([&] { (void)diem::io::load_cifar10<float>({path}, 2); });
    return 0;
}
