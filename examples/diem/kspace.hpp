// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <complex>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/kspace.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/masks.hpp>

#include "support/any_operator.hpp"

/// Measurements of magnetic resonance, as users bring them: files of k-space of any format and size, masks, coil maps.
namespace program {

using diem::index_t;

/// An array that is there in the place of a file; none: there is a file of that name.
using array_source = std::function<std::optional<diem::io::numbers<float>>(const std::filesystem::path& name)>;

/// {"type": "mri", "mask": FILE, "coils": FILE, "size": [height, width], "fit": "crop"}: see docs/command_line.md.
struct mri_description {
    std::string where;                                ///< for messages
    std::vector<std::filesystem::path> masks, coils;  ///< none, one for all files of y, or one for each
    std::optional<diem::mri::mask_options> drawn;     ///< masks to be drawn by diem observe
    bool espirit = false;                             ///< maps are made of the centre of k-space
    bool complex = false;                             ///< x is complex: with maps, or because it says so
    index_t height = 0, width = 0;                    ///< of x; 0: as k-space
    bool crop = false, pad = false;                   ///< what may be done where k-space has another size
    array_source source = [](const std::filesystem::path&) { return std::nullopt; };  ///< of k-space, masks and maps
};

/// Items of one size, in host memory.
struct mri_part {
    index_t items = 0, coils = 0, height = 0, width = 0;  ///< of k-space; coils 0: one coil, a real image
    std::vector<float> y;                                 ///< (items, coils, height, width, 2)
    std::vector<float> mask, maps;                        ///< of one item, or of all
    bool one_mask = true, one_map = true;
    [[nodiscard]] index_t rows() const { return 2 * std::max<index_t>(coils, 1) * height * width; }
    /// Of each row, for prior::held_groups: its frequency, which all coils share and, of a real image, its mirror; below 0 in the
    /// centre that all items have measured in full (whole columns, a quarter of them at most), where k-space is largest.
    [[nodiscard]] std::vector<int> groups() const;
};
struct mri_measurement {
    std::vector<mri_part> parts;
    index_t height = 0, width = 0;  ///< of x
    bool complex = false;
    double share = 1;                ///< of the values of y that are measured
    std::vector<std::string> words;  ///< what was done to bring files to one size
};

using complex_images = diem::io::array<std::complex<float>>;  ///< (items, coils, height, width)

[[nodiscard]] inline diem::mri::kspace_size size_of(const complex_images& a) {
    return {a.shape[2], a.shape[3], a.shape[1]};
}
/// Item `i` in the memory of a backend.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> one_item(B& b, const complex_images& a, index_t i) {
    const index_t size = a.features();
    std::vector<float> one;
    one.reserve(static_cast<std::size_t>(2 * size));
    for (index_t k = i * size; k < (i + 1) * size; ++k) {
        one.push_back(a[k].real());
        one.push_back(a[k].imag());
    }
    return to_backend(b, one, 2 * size, 1);
}
/// `f` of each item as a batch: a backend's memory holds one of them at a time.
template <diem::Backend B, class F>
[[nodiscard]] complex_images each_item(B& b, const complex_images& a, index_t height, index_t width, const F& f) {
    complex_images out({a.shape[0], a.shape[1], height, width});
    const index_t made = out.features();
    for (index_t i = 0; i < a.shape[0]; ++i) {
        const auto x = one_item(b, a, i);
        const auto values = to_host(b, f(x.cview()));
        for (index_t k = 0; k < made; ++k)
            out[i * made + k] = {values[static_cast<std::size_t>(2 * k)], values[static_cast<std::size_t>(2 * k + 1)]};
    }
    return out;
}

/// Coil maps of each slice.
struct espirit_result {
    complex_images maps;
    index_t calibration = 0;  ///< side of the smallest square that they are made of
};
/// By ESPIRiT on a CPU, of the lines for calibration or, where there are none, of k-space: of the square in the centre that is
/// measured, at most options.calibration wide. Throws value_error where it is narrower than two kernels, naming file and slice.
[[nodiscard]] espirit_result espirit_maps(const diem::io::kspace_data& k, const diem::mri::espirit_options& options,
                                          const std::filesystem::path& file, int threads);

/// Crops k-space to `readout` rows where it is oversampled and all rows are measured alike; whether it did.
bool remove_oversampling(diem::io::kspace_data& k, const std::filesystem::path& file);

/// Reads the files of y with masks and maps, and brings them to one size. Throws io_error, shape_error, value_error, config_error.
[[nodiscard]] mri_measurement load_mri(const mri_description& d, const std::vector<std::filesystem::path>& files);
/// The operator alone, for `items` images of that size (`diem observe`): `masks`, (items or 1, rows or 1, width), of what was drawn,
/// or empty. One part, without y. Throws as `load_mri`, and config_error where the description has several masks or maps.
[[nodiscard]] mri_measurement mri_for_images(const mri_description& d, index_t items, index_t height, index_t width,
                                             const diem::io::kspace_mask& masks);

/// The operator of a measurement.
template <diem::Backend B>
[[nodiscard]] support::any_operator<B> make_mri(B& b, const mri_measurement& m) {
    using namespace diem;
    using data = linop::common_or_each<B>;
    std::vector<support::any_operator<B>> parts;
    std::vector<index_t> counts;
    const auto numbers = [&](const std::vector<float>& v, bool one, index_t items) {
        const auto size = static_cast<index_t>(v.size());
        auto values = to_backend(b, v, one ? size : size / items, one ? 1 : items);
        return one ? data::shared(std::move(values)) : data::per_item(std::move(values));
    };
    for (const auto& p : m.parts) {
        std::vector<support::any_operator<B>> chain;
        if (p.height != m.height || p.width != m.width)  // about the origin
            chain.push_back(linop::window(b, {m.height, m.width, m.complex ? 2 : 1}, m.height / 2 - p.height / 2,
                                          m.width / 2 - p.width / 2, p.height, p.width, linop::border::zero));
        auto mask = numbers(p.mask, p.one_mask, p.items);
        if (p.coils > 0)
            chain.push_back(
                linop::sense<B>(b, p.height, p.width, std::move(mask), numbers(p.maps, p.one_map, p.items)));
        else
            chain.push_back(linop::mri<B>(b, p.height, p.width, std::move(mask)));
        parts.push_back(chain.size() == 1 ? std::move(chain.front())
                                          : support::any_operator<B>::in_turn(std::move(chain)));
        counts.push_back(p.items);
    }
    if (parts.size() == 1) return std::move(parts.front());
    return support::any_operator<B>::for_items(std::move(parts), std::move(counts));
}

}  // namespace program
