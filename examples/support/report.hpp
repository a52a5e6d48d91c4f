// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include <diem/core/version.hpp>
#include <diem/io/json.hpp>

/// What a program says at its end: a table on the terminal, report.json in its folder (diem::io::save_json).
namespace support {

/// Version, compiler and instruction set, for reports and benchmarks.
[[nodiscard]] inline diem::io::json environment() {
    std::string instructions = "baseline";
#if defined(__AVX512F__)
    instructions = "avx512";
#elif defined(__AVX2__) && defined(__FMA__)
    instructions = "avx2+fma";
#elif defined(__AVX__)
    instructions = "avx";
#endif
#if defined(__clang__)
    const std::string compiler = "clang " __clang_version__;
#else
    const std::string compiler = "gcc " __VERSION__;
#endif
#if defined(NDEBUG)
    const bool assertions = false;
#else
    const bool assertions = true;
#endif
    return {
        {"diem", diem::version}, {"compiler", compiler}, {"instructions", instructions}, {"assertions", assertions}};
}

/// "13.58": `digits` behind the point.
[[nodiscard]] inline std::string number(double value, int digits = 2) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

/// "0.00123", "4.7e+15": three digits.
[[nodiscard]] inline std::string brief(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
}

[[nodiscard]] inline double mean_of(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Columns as wide as their widest cell; the first is flush left, the others flush right.
inline void print_table(std::ostream& out, const std::vector<std::string>& head,
                        const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> width;
    const auto widen = [&](const std::vector<std::string>& row) {
        if (width.size() < row.size()) width.resize(row.size());
        for (std::size_t k = 0; k < row.size(); ++k) width[k] = std::max(width[k], row[k].size());
    };
    const auto line = [&](const std::vector<std::string>& row) {
        for (std::size_t k = 0; k < row.size(); ++k) {
            const std::string pad(width[k] - row[k].size(), ' ');
            out << (k > 0 ? "  " : "") << (k > 0 ? pad + row[k] : row[k] + pad);
        }
        out << '\n';
    };
    widen(head);
    for (const auto& row : rows) widen(row);
    line(head);
    std::size_t total = 0;
    for (const std::size_t w : width) total += w + 2;
    out << std::string(total > 2 ? total - 2 : 0, '-') << '\n';
    for (const auto& row : rows) line(row);
}

}  // namespace support
