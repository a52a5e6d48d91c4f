// SPDX-License-Identifier: Apache-2.0
#include <diem/io/kspace.hpp>

#include "fuzz/input.hpp"

/// The header, a byte of 0 (or the end), the data.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::size_t header = static_cast<std::size_t>(std::find(data, data + size, 0) - data);
    const std::size_t rest = header < size ? header + 1 : size;
    const auto path = fuzz::file_of(data, header, "a.hdr");
    (void)fuzz::file_of(data + rest, size - rest, "a.cfl");
    fuzz::tolerate([&] {
        const auto values = diem::io::load_cfl(path);
        if (values.data.size() * 8 != size - rest) std::abort();
        if (diem::io::cfl_slices(values, "a").data.size() != values.data.size()) std::abort();
    });
    return 0;
}
