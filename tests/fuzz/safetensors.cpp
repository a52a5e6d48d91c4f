// SPDX-License-Identifier: Apache-2.0
#include <diem/io/safetensors.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto path = fuzz::file_of(data, size);
    fuzz::tolerate([&] {
        diem::io::safetensors_file file(path);
        std::uint64_t bytes = 0;
        for (const auto& [name, tensor] : file.tensors()) {
            bytes += tensor.bytes;
            fuzz::tolerate([&] { (void)file.read_as<float>(name); });
            fuzz::tolerate([&] { (void)file.read_as<std::complex<float>>(name); });
            fuzz::tolerate([&] { (void)file.read<std::int64_t>(name); });
        }
        if (bytes > size) std::abort();
        (void)file.verify();
    });
    return 0;
}
