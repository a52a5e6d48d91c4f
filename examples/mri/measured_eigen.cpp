// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>

#include "mri/measured_run.hpp"

namespace measured {

using backend = diem::eigen_backend<float>;

int learn_prior(const prior_settings& s) {
    const std::size_t files = s.slices.size();
    const auto of_each = [&](const char* name, std::size_t given) {
        diem::check_value("mri", given == 0 || given == files,
                          std::string(name) + " has " + std::to_string(given) + " entries for " +
                              std::to_string(files) + " files of slices");
    };
    diem::check_value("mri", files > 0, "--slices is missing");
    of_each("--pixels", s.pixels.size());
    of_each("--shares", s.shares.size());
    of_each("--first", s.first.size());
    auto files_out = support::outputs::file("--out", s.out);
    files_out.reads("--slices", s.slices).reads("--samples", s.samples).reads("--start", s.start).prepare();
    backend b(s.threads);
    slice_patches source;
    source.size = s.size;
    source.texture = s.texture;
    for (std::size_t k = 0; k < files; ++k) {
        auto slices = diem::io::load_npy<std::uint8_t>(s.slices[k]);
        diem::check_value(
            "mri", slices.shape.size() == 3 && slices.size() > 0,
            s.slices[k] + ": shape " + diem::io::to_string(slices.shape) + ", expected (slices, height, width)");
        if (!s.first.empty()) {
            diem::check_value("mri", s.first[k] > 0 && s.first[k] <= slices.shape[0],
                              s.slices[k] + ": holds " + std::to_string(slices.shape[0]) +
                                  " slices, --first asks for " + std::to_string(s.first[k]));
            slices.shape[0] = s.first[k];
        }
        const double pixel = s.pixels.empty() ? 1 : s.pixels[k];
        diem::check_positive("mri", "--pixels", pixel);
        source.sources.push_back({std::move(slices), pixel / 1.3, pixel * 1.3, s.shares.empty() ? 1.0 : s.shares[k]});
    }
    double shares = 0;
    for (const auto& each : source.sources) shares += each.share;
    diem::check_positive("mri", "the sum of --shares", shares);
    if (!s.samples.empty()) {
        source.images = diem::io::load_npy<float>(s.samples);
        const auto& shape = source.images.shape;
        diem::check_value("mri", shape.size() == 4 && shape[3] == 2 && shape[1] >= s.size && shape[2] >= s.size,
                          s.samples + ": shape " + diem::io::to_string(shape) +
                              ", expected (samples, height, width, 2) of at least the patches' size");
        source.image_share = s.sample_share;
        // Brought to the level at which slices are: 99 % of the values below 1.6.
        const double top = quantile(magnitudes(source.images.data), 0.99);
        for (float& v : source.images.data) v *= static_cast<float>(1.6 / top);
    }
    std::optional<diem::prior::learned<backend>> start;
    if (!s.start.empty()) start.emplace(diem::prior::load<backend>(s.start, b));
    const auto prior = train_prior(b, source, s, start ? &*start : nullptr);
    diem::prior::save(s.out, b, prior);
    return 0;
}

int restore(const restore_settings& s) {
    backend b(s.threads);
    return restore_on(b, s);
}

namespace {

/// Slices of a few ellipses, and the k-space of one of them seen by four coils: every second row and the middle.
void make_up(const std::filesystem::path& folder, index_t n) {
    diem::io::array<std::uint8_t> slices({16, n, n});
    for (index_t i = 0; i < 16; ++i)
        for (index_t y = 0; y < n; ++y)
            for (index_t x = 0; x < n; ++x) {
                double value = 0;
                for (std::uint32_t k = 0; k < 6; ++k) {
                    const auto u = [&](std::uint32_t j) {
                        return diem::uniform<double>({.seed = 5}, static_cast<std::uint32_t>(i), 8 * k + j);
                    };
                    const double size = static_cast<double>(n) * (k == 0 ? 0.42 : 0.05 + 0.12 * u(0));
                    const double far = k == 0 ? 0 : 0.45 * static_cast<double>(n);
                    const double dy = static_cast<double>(y - n / 2) - far * (u(1) - 0.5),
                                 dx = static_cast<double>(x - n / 2) - far * (u(2) - 0.5);
                    if (dy * dy + 1.5 * dx * dx < size * size) value += k == 0 ? 120 : 100 * (u(3) - 0.5);
                }
                slices[(i * n + y) * n + x] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
            }
    diem::io::save_npy(folder / "slices.npy", slices);

    constexpr index_t coils = 4;
    backend b(1);
    std::vector<float> images(static_cast<std::size_t>(2 * coils * n * n));
    for (index_t c = 0; c < coils; ++c)
        for (index_t k = 0; k < n * n; ++k) {
            const double y = static_cast<double>(k / n) / static_cast<double>(n) - (c / 2 ? 0.9 : 0.1),
                         x = static_cast<double>(k % n) / static_cast<double>(n) - (c % 2 ? 0.9 : 0.1);
            const double value = slices[k] / 255.0 * std::exp(-2 * (y * y + x * x));
            images[static_cast<std::size_t>(2 * (c * n * n + k))] = static_cast<float>(value * std::cos(y + 2 * x));
            images[static_cast<std::size_t>(2 * (c * n * n + k) + 1)] = static_cast<float>(value * std::sin(y + 2 * x));
        }
    auto kspace = to_backend(b, images, 2 * coils * n * n, 1);
    b.fft2(diem::fft_direction::forward, n, n, kspace.view(), kspace.view());
    const auto values = to_host(b, kspace);
    diem::io::array<std::complex<float>> file({coils, n, n});
    for (index_t k = 0; k < coils * n * n; ++k) {
        const index_t y = k / n % n, x = k % n;
        const bool centre = std::abs(y - n / 2) <= n / 6 && std::abs(x - n / 2) <= n / 6;
        if (!centre && (y + x) % 2 == 0) continue;
        const auto z = [&](std::uint32_t j) {
            return 0.002F * diem::normal<float>({.seed = 6}, static_cast<std::uint32_t>(k), j);
        };
        const auto at = static_cast<std::size_t>(2 * k);
        file[k] = {values[at] + z(0), values[at + 1] + z(1)};
    }
    diem::io::save_npy(folder / "kspace.npy", file);
}

}  // namespace

int smoke(const std::string& folder, int threads) {
    const std::filesystem::path at(folder);
    std::filesystem::create_directories(at);
    make_up(at, 48);
    prior_settings p;
    p.slices = {(at / "slices.npy").string()};
    p.out = (at / "prior.safetensors").string();
    p.size = 24;
    p.patches = 64;
    p.steps = 30;
    p.batch = 8;
    p.channels = {8, 16};
    p.threads = threads;
    if (const int status = learn_prior(p)) return status;
    restore_settings r;
    r.kspace = (at / "kspace.npy").string();
    r.prior = p.out;
    r.out = folder;
    r.centre = 16;
    r.samples = 4;
    r.batch = 3;
    r.steps = 4;
    r.seeds = {0, 1};
    r.threads = threads;
    return restore(r);
}

}  // namespace measured
