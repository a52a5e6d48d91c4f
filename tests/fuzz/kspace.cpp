// SPDX-License-Identifier: Apache-2.0
#include <diem/io/ismrmrd_lines.hpp>

#include <cstring>

#include "fuzz/input.hpp"

/// Lines of k-space as a file of raw data may say: a header, then 16 bytes for each line, whose samples need not be as many as it
/// says.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t head = 8, each = 16;
    if (size < head) return 0;
    diem::io::ismrmrd_header header;
    header.encoded[0] = data[0] + 256 * (data[6] & 7);
    header.encoded[1] = data[1];
    header.encoded[2] = data[2] % 4;
    header.reconstructed[0] = data[3];
    if (data[4] % 2 == 1) header.lines = {0, data[1], data[5]};
    header.trajectory = data[4] % 4 < 3 ? "cartesian" : "radial";
    std::vector<diem::io::ismrmrd_line> lines;
    for (std::size_t at = head; at + each <= size; at += each) {
        const std::uint8_t* d = data + at;
        diem::io::ismrmrd_line l{.samples = d[0],
                                 .coils = d[1] % 8,
                                 .before = d[2] % 16,
                                 .after = d[3] % 16,
                                 .center = d[4],
                                 .encoding = d[5] / 128,
                                 .trajectory = d[5] / 64 % 2,
                                 .step_1 = d[6],
                                 .step_2 = d[7] / 128,
                                 .average = d[7] % 4,
                                 .slice = d[8] % 8,
                                 .phase = d[9] % 4,
                                 .data = {}};
        if (d[10] > 0) l.flags = std::uint64_t{1} << (d[10] % 64);
        l.data.assign(d[11] == 0 ? static_cast<std::size_t>(l.samples * l.coils) : d[11], {1, 2});
        lines.push_back(std::move(l));
    }
    fuzz::tolerate([&] {
        const auto k = diem::io::sort_cartesian(header, lines, "input");
        if (k.values.size() != k.slices() * k.coils() * k.height() * k.width()) std::abort();
        if (diem::io::share_of(k.measured) > 1) std::abort();
    });
    return 0;
}
