// SPDX-License-Identifier: Apache-2.0
// The main program of a target without libFuzzer: tries every file of the folders given, whole, cut at every length, and
// with each of its bits turned. So every compiler runs the stored inputs.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/input.hpp"

int main(int argc, char** argv) {
    std::size_t inputs = 0;
    for (int k = 1; k < argc; ++k)
        for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[k])) {
            if (!entry.is_regular_file()) continue;
            std::ifstream stream(entry.path(), std::ios::binary);
            std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
            const std::size_t step = std::max<std::size_t>(1, bytes.size() / 500);
            for (std::size_t size = 0; size < bytes.size(); size += step, ++inputs)
                LLVMFuzzerTestOneInput(bytes.data(), size);
            for (std::size_t at = 0; at < bytes.size(); at += step, ++inputs) {
                bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << (at % 8)));
                LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
                bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << (at % 8)));
            }
            LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
            ++inputs;
        }
    std::printf("%zu inputs\n", inputs);
    return inputs == 0 ? 1 : 0;
}
