// SPDX-License-Identifier: Apache-2.0
#include "support/html/points.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <diem/core/error.hpp>
#include <diem/io/npy.hpp>

#include "support/html/text.hpp"

namespace support::html {

using diem::index_t;

namespace {

constexpr index_t most_dimensions = 8, most_drawn = 600, most_pairs = 4;

std::optional<diem::io::array<float>> points_in(const std::filesystem::path& file) {
    std::error_code code;
    if (!std::filesystem::is_regular_file(file, code)) return std::nullopt;
    try {
        auto a = diem::io::load_npy<float>(file);
        if (a.shape.size() != 2 || a.shape[0] < 1 || a.shape[1] < 2 || a.shape[1] > most_dimensions)
            return std::nullopt;
        return a;
    } catch (const diem::error&) {
        return std::nullopt;
    }
}
curve cloud(const diem::io::array<float>& a, index_t i, index_t j, const char* name, int colour) {
    curve c;
    c.name = name, c.colour = colour;
    for (index_t k = 0; k < std::min(a.shape[0], most_drawn); ++k) {
        c.x.push_back(static_cast<double>(a[k * a.shape[1] + i]));
        c.y.push_back(static_cast<double>(a[k * a.shape[1] + j]));
    }
    return c;
}

}  // namespace

std::vector<plot> point_plots(const std::vector<run_data>& all) {
    std::vector<plot> plots;
    for (std::size_t r = 0; r < all.size(); ++r) {
        const auto& folder = all[r].folder;
        const auto name = std::filesystem::path(text_at(all[r].report, "truth_file")).filename();
        if (name.empty()) continue;
        const auto truth = points_in(folder / name);
        auto samples = points_in(folder / "prior_network.npy");
        const bool network = samples.has_value();
        if (!network) samples = points_in(folder / "prior_gaussian.npy");
        if (!truth || !samples || truth->shape[1] != samples->shape[1]) continue;
        const index_t pairs = std::min(most_pairs, truth->shape[1] - 1);
        for (index_t i = 0; i < pairs; ++i) {
            plot p;
            p.title = "x" + std::to_string(i + 2) + " against x" + std::to_string(i + 1);
            if (all.size() > 1) p.title += std::string(", ") + static_cast<char>('A' + r);
            p.x_label = "x" + std::to_string(i + 1);
            p.curves.push_back(cloud(*truth, i, i + 1, "truth", 2));
            p.curves.push_back(cloud(*samples, i, i + 1, network ? "network's prior" : "Gaussian prior", 1));
            plots.push_back(std::move(p));
        }
    }
    return plots;
}

}  // namespace support::html
