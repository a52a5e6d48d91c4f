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
    auto a = support::make_image_operator(b, d.steps);
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
                                               diem::io::array<float>& y) {
    using namespace diem;
    check_given(d);
    const observed_shape shape{y.shape, name};
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

/// Observations y = A x + e with what is known about them.
template <Backend B>
struct measured {
    diem::batch<B> y;
    support::any_operator<B> a;
    noise_type<B> noise;
    std::optional<support::image_shape> image;  ///< of x
    double share = 1;  ///< of the values of y that no mask hides: also what a data residual is near to in a good fit
    index_t unseen_items = 0, unseen_features = 0;  ///< of which, or by which, the operator shows nothing
    double spread = 0;                              ///< about the root mean square of x
    double scale = 1;                               ///< y, its noise and x are those of the user divided by this
    [[nodiscard]] index_t items() const { return y.items(); }
    [[nodiscard]] index_t features() const { return a.cols(); }
    [[nodiscard]] auto observed(B& b) const { return diem::posterior::observe(b, y.cview(), a, noise); }
};
/// Counts what A' z is zero for, z ~ N(0, I): almost surely what A shows nothing of. The spread of x is that of y less its
/// noise, over that of A: E |A' z|^2 = |A|^2. Throws value_error where A is zero for every item.
template <Backend B>
void examine(B& b, measured<B>& m, const std::vector<float>& variances, const std::string& where) {
    using namespace diem;
    const index_t rows = m.y.features(), features = m.features(), step = 256;
    std::vector<bool> seen(static_cast<std::size_t>(features), false);
    double of_a = 0;
    for (index_t first = 0; first < m.items(); first += step) {
        const index_t count = std::min(step, m.items() - first);
        batch<B> z(b, rows, count), x(b, features, count);
        b.fill_normal({.seed = 1, .lane = random_lane::user}, z.view());
        m.a.items(first, count).apply_adjoint(b, z.cview(), x.view());
        const auto values = to_host(b, x);
        for (const float v : values) of_a += static_cast<double>(v) * static_cast<double>(v);
        for (index_t i = 0; i < count; ++i) {
            bool any = false;
            for (index_t j = 0; j < features; ++j)
                if (values[static_cast<std::size_t>(i * features + j)] != 0)
                    any = seen[static_cast<std::size_t>(j)] = true;
            if (!any) ++m.unseen_items;
        }
    }
    double of_y = 0, of_noise = 0;
    for (const float v : to_host(b, m.y)) of_y += static_cast<double>(v) * static_cast<double>(v);
    for (const float v : variances) of_noise += m.share * static_cast<double>(v) * static_cast<double>(m.items());
    m.spread = std::sqrt(std::max(of_y - of_noise, 0.0) / of_a);
    m.unseen_features = std::count(seen.begin(), seen.end(), false);
    if (m.unseen_items == m.items())
        throw value_error(where + ": the operator is zero for every item: nothing was seen");
}
/// See `clear_hidden` for values that a mask hides, and `shape_of_x` for `image`.
template <Backend B>
[[nodiscard]] measured<B> load_measured(B& b, const std::filesystem::path& y, const operator_description& d,
                                        const sigma_source& sigma, std::optional<support::image_shape> image) {
    auto values = load_items(y, false);
    const bool flat = values.shape.size() <= 2 && d.type != "identity" && d.type != "mask";  // rows, no image
    if (!flat) values = channels_last(std::move(values), d.order, y.string());
    auto [a, seen] = load_operator(b, d, y.string(), values);
    const index_t items = values.items(), rows = values.features();
    const double share = clear_hidden(values, seen, y);
    image = shape_of_x(d, a.as_mask() != nullptr, values.shape, a.cols(), image);
    const auto variances = load_variances(sigma, rows);
    auto noise = noise_type<B>::shared(b, to_backend(b, variances, rows, 1));
    measured<B> m{to_backend(b, values.data, rows, items), std::move(a), std::move(noise), image, share};
    examine(b, m, variances, d.where);
    return m;
}
/// In units of `scale`: y and its noise are divided by it.
template <Backend B>
void rescale(B& b, measured<B>& m, const sigma_source& sigma, double scale) {
    if (scale == 1) return;
    auto variances = load_variances(sigma, m.y.features());
    for (float& v : variances) v = static_cast<float>(static_cast<double>(v) / (scale * scale));
    m.noise = noise_type<B>::shared(b, diem::to_backend(b, variances, m.y.features(), 1));
    b.axpby(0.0, m.y.cview(), 1 / scale, m.y.view());
    m.scale = scale;
    m.spread /= scale;
}
/// How samples of the observations fit them.
struct data_fit {
    double residual = 0;     ///< mean of (y - A x)' Sigma_y^-1 (y - A x) / rows over the finite ones
    index_t non_finite = 0;  ///< samples with a number that is not finite, or such a residual
};
/// Of x, sample s n + i of observation i.
template <Backend B>
[[nodiscard]] data_fit fit_of(B& b, const measured<B>& m, diem::const_view_t<B> x) {
    using namespace diem;
    const index_t n = m.items(), rows = m.y.features(), features = m.features();
    batch<B> r(b, rows, n), s(b, rows, n);
    data_fit f;
    for (index_t first = 0; first < x.items(); first += n) {
        const index_t count = std::min(n, x.items() - first);
        const const_view_t<B> part = x.item_range(first, count);
        const view_t<B> at = r.view().item_range(0, count), weighted = s.view().item_range(0, count);
        m.a.items(0, count).apply(b, part, at);
        b.axpby(1.0, m.y.cview().item_range(0, count), -1.0, at);
        m.noise.items(0, count).apply_inverse(b, const_view_t<B>(at), weighted);
        const auto residual = to_host(b, at), inverse = to_host(b, weighted), values = to_host(b, part);
        for (index_t i = 0; i < count; ++i) {
            double sum = 0;
            bool finite = true;
            for (index_t k = i * rows; k < (i + 1) * rows; ++k)
                sum += static_cast<double>(residual[static_cast<std::size_t>(k)]) *
                       static_cast<double>(inverse[static_cast<std::size_t>(k)]);
            for (index_t k = i * features; k < (i + 1) * features; ++k)
                finite = finite && std::isfinite(values[static_cast<std::size_t>(k)]);
            if (finite && std::isfinite(sum))
                f.residual += sum / static_cast<double>(rows);
            else
                ++f.non_finite;
        }
    }
    f.residual /= static_cast<double>(std::max<index_t>(x.items() - f.non_finite, 1));
    return f;
}
/// A warning where some items or, with `features`, some values of x are never seen.
template <Backend B>
void warn_of_unseen(const measured<B>& m, bool features) {
    const auto share = [](index_t part, index_t all) {
        return support::number(100 * static_cast<double>(part) / static_cast<double>(all), 1) + " % (" +
               std::to_string(part) + " of " + std::to_string(all) + ")";
    };
    if (m.unseen_items > 0)
        std::cerr << "diem: warning: " << share(m.unseen_items, m.items())
                  << " of the items were not seen at all: their samples are those of the prior\n";
    if (features && m.unseen_features > 0)
        std::cerr << "diem: warning: " << share(m.unseen_features, m.features()) << " of the "
                  << (m.image ? "pixels" : "values")
                  << " of x were never seen, in no item: the prior is a guess there\n";
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
    diem::io::save_png(
        file, support::picture_row(b, m.y.cview().item_range(0, count), *m.image, scale_of(*m.image), hidden.cview()));
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
