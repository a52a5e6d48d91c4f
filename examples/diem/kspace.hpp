// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <complex>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/kspace.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/masks.hpp>

#include "diem/host_items.hpp"
#include "support/any_operator.hpp"

/// Measurements of magnetic resonance, as users bring them: files of k-space of any format and size, masks, coil maps.
namespace program {

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
    [[nodiscard]] bool several_coils() const { return espirit || !coils.empty(); }
};

/// Items of one size, in host memory.
struct mri_part {
    index_t items = 0, coils = 0, height = 0, width = 0;  ///< of k-space; coils 0: one coil, a real image
    diem::io::complex_slices y;                           ///< read, and brought to this size, a slice at a time
    host_items mask;                                      ///< of one item, or of all
    diem::io::complex_slices maps;                        ///< the same; none for a real image
    bool one_mask = true;
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

[[nodiscard]] inline diem::mri::kspace_size size_of(const diem::io::shape_type& s) { return {s[2], s[3], s[1]}; }
/// Item `i` in the memory of a backend.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> one_item(B& b, const complex_images& a, index_t i) {
    const index_t size = a.features();
    diem::batch<B> one(b, 2 * size, 1);
    b.upload(diem::host_view<const float>(pairs_in(a.data.data() + i * size), 2 * size, 1), one.view());
    return one;
}
/// Of each slice, when it is read, `f(i, slice as a batch)`, computed by `b`.
template <diem::Backend B, class F>
[[nodiscard]] diem::io::complex_slices each_slice(std::shared_ptr<B> b, const diem::io::complex_slices& a,
                                                  index_t height, index_t width, F f) {
    return a.changed(height, width, [b, height, width, f](index_t i, const complex_images& slice) {
        const auto x = one_item(*b, slice, 0);
        const auto values = to_host(*b, f(i, x.cview()));
        complex_images out({1, slice.shape[1], height, width});
        diem::check_size("each_slice", "numbers of a slice", static_cast<index_t>(values.size()), 2 * out.size());
        for (index_t k = 0; k < out.size(); ++k)
            out[k] = {values[static_cast<std::size_t>(2 * k)], values[static_cast<std::size_t>(2 * k + 1)]};
        return out;
    });
}

/// Coil maps of each slice.
struct espirit_result {
    diem::io::complex_slices maps;         ///< each is made when it is read
    std::shared_ptr<index_t> calibration;  ///< side of the smallest square that those are made of that were read
};
/// K-space as the operator takes it, and what was measured of it.
struct measured_kspace {
    diem::io::kspace_source k;
    diem::io::kspace_mask mask;
};
/// By ESPIRiT on a CPU, of the lines for calibration or, where there are none, of k-space: of the square in the centre that is
/// measured, at most options.calibration wide. Throws value_error where it is narrower than two kernels, naming file and slice.
[[nodiscard]] espirit_result espirit_maps(const diem::io::kspace_source& k, const diem::mri::espirit_options& options,
                                          const std::filesystem::path& file, int threads);

/// Crops k-space to `readout` rows where it is oversampled and all rows are measured alike; whether it did.
bool remove_oversampling(measured_kspace& m, const std::filesystem::path& file);

/// Opens the files of y with masks and maps, to be brought to one size slice by slice; `large`: where masks lie, and that npy stays
/// in its files; empty: in memory. Throws io_error, shape_error, value_error, config_error, also where a slice is read.
[[nodiscard]] mri_measurement load_mri(const mri_description& d, const std::vector<std::filesystem::path>& files,
                                       const host_memory_source& large = {});
/// At most so many bytes: y of all files, masks and maps of each slice, samples of x.
struct mri_bytes {
    double y = 0, operators = 0, samples = 0;
};
/// By the heads of the files alone. Throws as `load_mri`.
[[nodiscard]] mri_bytes bytes_of(const mri_description& d, const std::vector<std::filesystem::path>& files);
/// The operator alone, for `items` images of that size (`diem observe`): `masks`, (items or 1, rows or 1, width), of what was drawn,
/// or empty. One part, without y. Throws as `load_mri`, and config_error where the description has several masks or maps.
[[nodiscard]] mri_measurement mri_for_images(const mri_description& d, index_t items, index_t height, index_t width,
                                             const diem::io::kspace_mask& masks);

/// y of all files, items after items, zeros beyond those of smaller ones: where it lies, or in `memory`.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> kspace_of(B& b, const mri_measurement& m, index_t rows, const host_memory_source& memory) {
    if (m.parts.size() == 1) return take(b, m.parts.front().y, memory);
    index_t items = 0, first = 0;
    for (const auto& p : m.parts) items += p.items;
    auto y = batch_in(b, memory, rows, items);
    for (const auto& p : m.parts) {
        const auto there = y.view().item_range(first, p.items);
        upload_slices(b, p.y, diem::linop::rows_of(there, 0, p.rows()));
        if (p.rows() < rows) b.fill(diem::linop::rows_of(there, p.rows(), rows - p.rows()), 0.0F);
        first += p.items;
    }
    return y;
}
/// The operator of a measurement; maps lie where they do, or in `memory`.
template <diem::Backend B>
[[nodiscard]] support::any_operator<B> make_mri(B& b, const mri_measurement& m, const host_memory_source& memory = {}) {
    using namespace diem;
    using data = linop::common_or_each<B>;
    std::vector<support::any_operator<B>> parts;
    std::vector<index_t> counts;
    const auto numbers = [](batch<B> values, bool one) {
        return one ? data::shared(std::move(values)) : data::per_item(std::move(values));
    };
    for (const auto& p : m.parts) {
        std::vector<support::any_operator<B>> chain;
        if (p.height != m.height || p.width != m.width)  // about the origin
            chain.push_back(linop::window(b, {m.height, m.width, m.complex ? 2 : 1}, m.height / 2 - p.height / 2,
                                          m.width / 2 - p.width / 2, p.height, p.width, linop::border::zero));
        auto mask = numbers(take(b, p.mask, p.mask.features(), p.mask.items()), p.one_mask);
        if (p.coils > 0)
            chain.push_back(linop::sense<B>(b, p.height, p.width, std::move(mask),
                                            numbers(take(b, p.maps, memory), p.maps.slices() == 1)));
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
