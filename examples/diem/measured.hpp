// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/png.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/posterior/observation.hpp>

#include "diem/files.hpp"
#include "support/any_operator.hpp"
#include "support/image_batches.hpp"
#include "support/report.hpp"

/// What a user brings, in the memory of a backend.
namespace program {

using diem::Backend;
template <Backend B>
using noise_type = diem::linop::diagonal_covariance<B>;

template <Backend B>
[[nodiscard]] noise_type<B> load_noise(B& b, const sigma_source& sigma, index_t rows) {
    return noise_type<B>::shared(b, to_backend(b, load_variances(sigma, rows), rows, 1));
}

/// Steps on images. Throws shape_error where they do not give `rows` values, or were made for other items.
template <Backend B>
[[nodiscard]] support::any_operator<B> load_steps(B& b, const operator_description& d, index_t items, index_t rows,
                                                  const std::string& name) {
    auto a = support::make_image_operator(b, d.steps, d.read);
    if (a.rows() != rows)
        throw diem::shape_error(d.where + ": the operator gives " + std::to_string(a.rows()) + " values, " + name +
                                " has " + std::to_string(rows) + " per item");
    if (a.items() != diem::linop::any_items && a.items() != items)
        throw diem::shape_error(d.where + ": the operator is for " + std::to_string(a.items()) + " items, " + name +
                                " has " + std::to_string(items));
    return a;
}

/// An operator, and what is known of it.
template <Backend B>
struct loaded_operator {
    support::any_operator<B> a;
    std::vector<float> seen{};  ///< of a mask: its values, to be repeated
};
/// For observations `y`, whose NaN may tell what is hidden (see hide_nan). Throws io_error, shape_error, config_error (a
/// description that is to be drawn).
template <Backend B>
[[nodiscard]] loaded_operator<B> load_operator(B& b, const operator_description& d, const std::string& name,
                                               host_items& y) {
    using namespace diem;
    check_given(d);
    const observed_shape shape{y.shape(), name};
    if (d.type == "averaging") return {load_averaging(d, shape.rows(), name)};
    if (!d.steps.empty()) return {load_steps(b, d, shape.items(), shape.rows(), name)};
    auto n = load_numbers(d, shape);
    if (d.type == "dense") {
        if (n.shared) return {linop::dense<B>::shared(to_backend(b, n.values, shape.rows(), n.cols))};
        return {linop::dense<B>::per_item(to_backend(b, n.values, n.features, n.items), shape.rows(), n.cols)};
    }
    if (d.nan_is_hidden) hide_nan(n, y);
    auto values = to_backend(b, n.values, n.features, n.items);
    auto mask = n.shared ? linop::mask<B>::shared(std::move(values)) : linop::mask<B>::per_item(std::move(values));
    return {std::move(mask), std::move(n.values)};
}

/// Warnings where some items or, with `features`, some values of x are never seen.
template <Backend B>
[[nodiscard]] std::vector<std::string> unseen(const measured<B>& m, bool features) {
    std::vector<std::string> texts;
    const auto share = [](index_t part, index_t all) {
        return support::number(100 * static_cast<double>(part) / static_cast<double>(all), 1) + " % (" +
               std::to_string(part) + " of " + std::to_string(all) + ")";
    };
    if (m.unseen_items > 0)
        texts.push_back(share(m.unseen_items, m.items()) +
                        " of the items were not seen at all: their samples are those of the prior");
    if (features && m.unseen_features > 0)
        texts.push_back(share(m.unseen_features, m.features()) + " of the " + (m.image ? "pixels" : "values") +
                        " of x were never seen, in no item: the prior is a guess there");
    return texts;
}
inline void warn(const std::vector<std::string>& texts) {
    for (const auto& text : texts) std::cerr << "diem: warning: " << text << '\n';
}
/// What drawing from a prior has to know of the data.
template <Backend B, class Prior>
void add_notes(Prior& prior, const measured<B>& m) {
    if (m.image) prior.notes["image"] = {m.image->height, m.image->width, m.image->channels};
    if (m.scale != 1) prior.notes["scale"] = m.scale;
}

/// Writes items, with the extents of the image where there is one.
template <Backend B>
void save_items(B& b, const std::filesystem::path& file, diem::const_view_t<B> x,
                const std::optional<support::image_shape>& image) {
    const auto values = to_host(b, x);
    diem::io::save_npy(file, shape_of(x.items(), x.features(), image), std::span<const float>(values));
}

/// The first observations as a picture, where y is an image.
template <Backend B>
void save_observed(B& b, const std::filesystem::path& file, const measured<B>& m, index_t count) {
    if (!m.image || m.y.features() != m.features() || !has_picture(m.image)) return;
    diem::batch<B> hidden;
    if (const auto* mask = m.a.as_mask()) {
        hidden = diem::batch<B>(b, m.features(), count);
        for (index_t i = 0; i < count; ++i)
            b.copy(mask->values().view().item_range(mask->is_shared() ? 0 : i, 1), hidden.view().item_range(i, 1));
    }
    diem::io::save_png(file,
                       support::picture_row(b, m.y.item_range(0, count), *m.image, scale_of(*m.image), hidden.cview()));
}

/// For a report.
template <Backend B>
[[nodiscard]] diem::io::json facts_of(const measured<B>& m) {
    diem::io::json j{
        {"observations", m.items()}, {"rows", m.y.features()},         {"features", m.features()},
        {"observed_share", m.share}, {"unseen_items", m.unseen_items}, {"unseen_features", m.unseen_features},
        {"scale", m.scale}};
    if (m.image) j["image"] = {m.image->height, m.image->width, m.image->channels};
    return j;
}

}  // namespace program
