// SPDX-License-Identifier: Apache-2.0
#include <diem/io/file_kind.hpp>
#include <diem/io/ismrmrd_header.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    (void)diem::io::describe(diem::io::kind_of(text.substr(0, 512), size));
    fuzz::tolerate([&] { (void)diem::io::parse_ismrmrd_header(text, "input"); });
    return 0;
}
