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
#include <diem/backend/capabilities.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/png.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/held_out.hpp>
#include <diem/prior/observed_variance.hpp>
#include <diem/prior/recoverability.hpp>

#include "diem/files.hpp"
#include "support/any_operator.hpp"
#include "support/image_batches.hpp"
#include "support/report.hpp"
#include "support/residual.hpp"

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
    if (const auto given = d.steps.back().to.size(); given != rows)  // before it takes memory
        throw diem::shape_error(d.where + ": the operator gives " + std::to_string(given) + " values, " + name +
                                " has " + std::to_string(rows) + " per item");
    auto a = support::make_image_operator(b, d.steps, d.read);
    if (a.items() != diem::linop::any_items && a.items() != items)
        throw diem::shape_error(d.where + ": the operator is for " + std::to_string(a.items()) + " items, " + name +
                                " has " + std::to_string(items));
    return a;
}

/// An operator, and what is known of it.
template <Backend B>
struct loaded_operator {
    support::any_operator<B> a;
    host_items seen{};  ///< of a mask: its values, to be repeated
};
/// For observations `y`, whose NaN may tell what is hidden (see hide_nan). Throws io_error, shape_error, config_error (a
/// description that is to be drawn).
template <Backend B>
[[nodiscard]] loaded_operator<B> load_operator(B& b, const operator_description& d, const std::string& name,
                                               host_items& y) {
    using namespace diem;
    check_given(d);
    if (d.mri) throw config_error(d.where + ": the operator mri is for files of k-space, " + name + " is an array");
    const observed_shape shape{y.shape(), name};
    if (d.type == "averaging") return {load_averaging(d, shape.rows(), name)};
    if (!d.steps.empty()) return {load_steps(b, d, shape.items(), shape.rows(), name)};
    auto n = load_numbers(d, shape);
    if (d.type == "dense") {
        if (n.shared) return {linop::dense<B>::shared(take(b, n.values, shape.rows(), n.cols))};
        return {linop::dense<B>::per_item(take(b, n.values, n.features, n.items), shape.rows(), n.cols)};
    }
    if (d.nan_is_hidden) hide_nan(n, y);
    auto values = take(b, n.values, n.features, n.items);
    auto mask = n.shared ? linop::mask<B>::shared(std::move(values)) : linop::mask<B>::per_item(std::move(values));
    return {std::move(mask), std::move(n.values)};
}

/// The observations as they came, where some of their values are kept back from learning: see diem/held_out.hpp.
template <Backend B>
struct kept_back {
    diem::batch<B> own;  ///< what y shows, unless that is the caller's
    diem::const_view_t<B> y;
    support::any_operator<B> a;
    diem::batch<B> weights;  ///< of each value, 0: held back
    index_t values = 0;      ///< so many are
};

/// Observations y = A x + e with what is known about them.
template <Backend B>
struct measured {
    diem::batch<B> own;  ///< what y shows, unless that is the caller's
    diem::const_view_t<B> y;
    support::any_operator<B> a;
    noise_type<B> noise;
    std::optional<support::image_shape> image;  ///< of x
    double share = 1;  ///< of the values of y that no mask hides: also what a data residual is near to in a good fit
    index_t unseen_items = 0, unseen_features = 0;        ///< of which, or by which, the operator shows nothing
    index_t seldom_features = 0;                          ///< the unseen ones too: see prior::recoverability_options
    double unseen_directions = 0, seldom_directions = 0;  ///< shares of the directions of x, for up to 4096 features
    double start_variance = 1;                            ///< of a Gaussian's EM, by default
    std::vector<double> seen{};                        ///< of masks: the share of observations that show a value of x
    double spread = 0;                                 ///< about the root mean square of x
    double scale = 1;                                  ///< y, its noise and x are those of the user divided by this
    bool measures_kspace = false;                      ///< operator mri: y is no image
    std::vector<std::string> words{};                  ///< what was done to bring files to one size
    std::vector<diem::prior::held_groups> groups{{}};  ///< of values that tell of one another
    std::optional<kept_back<B>> held{};                ///< then y and a are without what is held back
    [[nodiscard]] index_t items() const { return y.items(); }
    [[nodiscard]] index_t features() const { return a.cols(); }
    [[nodiscard]] auto observed(B& b) const { return diem::posterior::observe(b, y, a, noise); }
};
/// What the operator shows of x, and how wide x is. Throws value_error where A is zero for every item.
template <Backend B>
void examine(B& b, measured<B>& m, const std::string& where) {
    using namespace diem;
    const prior::recoverability_options how{.steps = m.features() > 4096 ? 0 : prior::recoverability_options{}.steps};
    const auto* mask = m.a.as_mask();
    auto seen = mask != nullptr ? prior::recoverability_of(b, *mask, m.items(), how)
                                : prior::recoverability_of(b, m.a, m.items(), how);
    const auto count_of = [&](double share) {
        return static_cast<index_t>(std::round(share * static_cast<double>(m.features())));
    };
    m.unseen_items = seen.unseen_items;
    m.unseen_features = count_of(seen.unseen_values);
    m.seldom_features = count_of(seen.seldom_values);
    m.unseen_directions = seen.unseen_directions;
    m.seldom_directions = seen.seldom_directions;
    m.start_variance = seen.start_variance();
    if (mask != nullptr) m.seen = std::move(seen.seen);  // of other operators an estimate: too rough for a picture
    if (m.unseen_items == m.items())
        throw value_error(where + ": the operator is zero for every item: nothing was seen");
    m.spread = std::sqrt(prior::observed_variance_of(b, m.observed(b)).of_x);
}
/// K-space of files of one size or of several, see `load_mri`.
template <Backend B>
[[nodiscard]] measured<B> load_mri_measured(B& b, const std::vector<std::filesystem::path>& files,
                                            const operator_description& d, const sigma_source& sigma,
                                            std::optional<support::image_shape> image) {
    using namespace diem;
    const auto m = load_mri(*d.mri, files, d.large);
    auto a = make_mri(b, m, d.large);
    const index_t rows = a.rows();
    auto y = kspace_of(b, m, rows, d.large);
    if (!sigma.file.empty() && m.parts.size() > 1 &&
        std::any_of(m.parts.begin(), m.parts.end(), [&](const auto& p) { return p.rows() != rows; }))
        throw config_error(sigma.where + ": a file with one number per row needs observations of one size");
    const auto variances = load_variances(sigma, rows);
    auto noise = noise_type<B>::shared(b, to_backend(b, variances, rows, 1));
    if (!image) image = support::image_shape{m.height, m.width, m.complex ? 2 : 1};
    check_image(image, a.cols(), "the operator of " + d.where + " takes ");
    const const_view_t<B> shown = y.cview();
    measured<B> out{std::move(y), shown, std::move(a), std::move(noise), image, m.share};
    out.measures_kspace = true;
    out.words = m.words;
    out.groups.clear();
    for (const auto& p : m.parts) {
        out.groups.push_back({p.items, p.groups()});
        out.groups.back().of_row.resize(static_cast<std::size_t>(rows), -1);
    }
    examine(b, out, d.where);
    return out;
}
/// See `clear_hidden` for values that a mask hides, and `shape_of_x` for `image`. `a`: the operator, where `d` does not say it.
/// `there`: the values in the backend's memory, which are used, and must outlive the result, where none had to be changed.
template <Backend B>
[[nodiscard]] measured<B> measure(B& b, host_items values, const std::string& name, const operator_description& d,
                                  const sigma_source& sigma, std::optional<support::image_shape> image,
                                  std::optional<support::any_operator<B>> given = {},
                                  std::optional<diem::const_view_t<B>> there = {}) {
    const bool flat = values.shape().size() <= 2 && d.type != "identity" && d.type != "mask";  // rows, no image
    if (!flat && d.order != layout::channels_last) values = channels_last(std::move(values), d.order, name);
    auto [a, seen] = given ? loaded_operator<B>{std::move(*given)} : load_operator(b, d, name, values);
    const index_t items = values.items(), rows = values.features();
    const double share = clear_hidden(values, seen.values(), name);
    image = shape_of_x(d, a.as_mask() != nullptr, values.shape(), a.cols(), image);
    const auto variances = load_variances(sigma, rows);
    auto noise = noise_type<B>::shared(b, to_backend(b, variances, rows, 1));
    diem::batch<B> own;
    if (!there || !values.borrowed()) {
        own = take(b, values, rows, items);
        there = own.cview();
    }
    measured<B> m{std::move(own), *there, std::move(a), std::move(noise), image, share};
    if (const auto* mask = m.a.as_mask(); mask != nullptr && d.channels > 1) {  // channels of one pixel
        m.groups.front().of_row.resize(static_cast<std::size_t>(rows));
        for (index_t k = 0; k < rows; ++k)
            m.groups.front().of_row[static_cast<std::size_t>(k)] = static_cast<int>(k / d.channels);
    }
    examine(b, m, d.where);
    return m;
}
template <Backend B>
[[nodiscard]] measured<B> load_measured(B& b, const std::vector<std::filesystem::path>& files,
                                        const operator_description& d, const sigma_source& sigma,
                                        std::optional<support::image_shape> image) {
    if (d.mri) {
        auto m = load_mri_measured(b, files, d, sigma, image);
        for (const auto& words : m.words) std::cout << words << '\n';
        return m;
    }
    if (files.size() != 1)
        throw diem::config_error(d.where + ": " + std::to_string(files.size()) +
                                 " files of observations, expected one (several are for the operator mri)");
    const auto& y = files.front();
    auto values = d.large ? map_values(y, d.large, false) : host_items(load_values(y, false));
    return measure(b, std::move(values), y.string(), d, sigma, image);
}
/// In units of `scale`: y and its noise are divided by it.
template <Backend B>
void rescale(B& b, measured<B>& m, const sigma_source& sigma, double scale) {
    if (scale == 1) return;
    auto variances = load_variances(sigma, m.y.features());
    for (float& v : variances) v = static_cast<float>(static_cast<double>(v) / (scale * scale));
    m.noise = noise_type<B>::shared(b, diem::to_backend(b, variances, m.y.features(), 1));
    const auto divide = [&](diem::batch<B>& own, diem::const_view_t<B>& y) {
        diem::batch<B> scaled(b, y.features(), y.items());
        b.axpby(1 / scale, y, 0.0, scaled.view());
        own = std::move(scaled);
        y = own.cview();
    };
    divide(m.own, m.y);
    if (m.held) divide(m.held->own, m.held->y);
    m.scale = scale;
    m.spread /= scale;
}
/// How samples of the observations fit them.
struct data_fit {
    double share = 1;        ///< what the residual of a good fit is near to
    double residual = 0;     ///< mean of (y - A x)' Sigma_y^-1 (y - A x) / rows over the finite ones
    index_t non_finite = 0;  ///< samples with a number that is not finite, or such a residual
    [[nodiscard]] double ratio() const { return residual / share; }
    [[nodiscard]] std::string words() const {
        return "data residual " + support::number(residual, residual < 1e6 ? 2 : 0) + " (near " +
               support::number(share) + " where samples fit the data): " + support::verdict_of(ratio());
    }
    /// For machines.
    [[nodiscard]] diem::io::json facts() const {
        return {{"observed_share", share}, {"data_residual", residual}, {"verdict", support::verdict_of(ratio())}};
    }
};
/// Of x, sample s n + i of observation i.
template <Backend B>
[[nodiscard]] data_fit fit_of(B& b, const measured<B>& m, diem::const_view_t<B> x) {
    using namespace diem;
    const index_t n = m.items(), rows = m.y.features(), features = m.features();
    batch<B> r(b, rows, n), s(b, rows, n);
    data_fit f{m.share};
    for (index_t first = 0; first < x.items(); first += n) {
        const index_t count = std::min(n, x.items() - first);
        const const_view_t<B> part = x.item_range(first, count);
        const view_t<B> at = r.view().item_range(0, count), weighted = s.view().item_range(0, count);
        m.a.items(0, count).apply(b, part, at);
        b.axpby(1.0, m.y.item_range(0, count), -1.0, at);
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
    else if (features && m.unseen_directions > 0)
        texts.push_back(support::number(100 * m.unseen_directions, 1) +
                        " % of the directions of x were never seen: the prior is a guess there");
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

/// Images in rows of `columns` (0: one row). Of complex images the magnitude: black is 0 and white 2, or, `stretched`, the largest
/// of them. `masks`: hidden pixels are shown as such.
template <Backend B>
[[nodiscard]] support::image picture_of(B& b, diem::const_view_t<B> x, const support::image_shape& image,
                                        bool stretched = false, diem::const_view_t<B> masks = {}, index_t columns = 0) {
    if (!is_complex(image)) return support::picture_row(b, x, image, scale_of(image), masks, columns);
    const auto magnitudes = magnitudes_of(to_host(b, x));
    std::vector<float> grey(magnitudes.size());
    const float most = stretched ? *std::max_element(magnitudes.begin(), magnitudes.end()) : 2.0F;
    for (std::size_t k = 0; k < grey.size(); ++k) grey[k] = most > 0 ? 4 * magnitudes[k] / most - 2 : -2;
    const auto values = diem::to_backend(b, grey, x.features() / 2, x.items());
    return support::picture_row(b, values.cview(), {image.height, image.width, 1}, scale_of(image), {}, columns);
}

/// The first observations as a picture, where y is an image.
template <Backend B>
void save_observed(B& b, const std::filesystem::path& file, const measured<B>& m, index_t count) {
    if (!m.image || !has_picture(m.image)) return;
    if (m.measures_kspace) {  // zero filled
        diem::batch<B> x(b, m.features(), count);
        m.a.items(0, count).apply_adjoint(b, m.y.item_range(0, count), x.view());
        return diem::io::save_png(file, picture_of(b, x.cview(), *m.image, true));
    }
    if (m.y.features() != m.features()) return;
    diem::batch<B> hidden;
    if (const auto* mask = m.a.as_mask()) {
        hidden = diem::batch<B>(b, m.features(), count);
        for (index_t i = 0; i < count; ++i)
            b.copy(mask->values().view().item_range(mask->is_shared() ? 0 : i, 1), hidden.view().item_range(i, 1));
    }
    diem::io::save_png(file, picture_of(b, m.y.item_range(0, count), *m.image, false, hidden.cview()));
}

/// Whether some pixels are seen more often than others, so that `save_seen` shows something.
template <Backend B>
[[nodiscard]] bool has_seen(const measured<B>& m) {
    if (!has_picture(m.image) || m.seen.empty()) return false;
    const auto [least, most] = std::minmax_element(m.seen.begin(), m.seen.end());
    return *least < 0.99 * *most;
}
/// The share of observations that show each pixel of x, as a picture: black none, white the most.
template <Backend B>
void save_seen(B& b, const std::filesystem::path& file, const measured<B>& m) {
    std::vector<float> grey(m.seen.begin(), m.seen.end());
    auto image = *m.image;
    if (is_complex(m.image)) {
        grey = magnitudes_of(grey);
        image.channels = 1;
    }
    const float most = *std::max_element(grey.begin(), grey.end());
    for (float& v : grey) v = 4 * v / most - 2;
    const auto x = diem::to_backend(b, grey, static_cast<index_t>(grey.size()), 1);
    diem::io::save_png(file, picture_of(b, x.cview(), image));
}

/// For a report.
template <Backend B>
[[nodiscard]] diem::io::json facts_of(const measured<B>& m) {
    diem::io::json j{{"observations", m.items()},
                     {"rows", m.y.features()},
                     {"features", m.features()},
                     {"observed_share", m.share},
                     {"unseen_items", m.unseen_items},
                     {"unseen_features", m.unseen_features},
                     {"seldom_features", m.seldom_features},
                     {"unseen_directions", m.unseen_directions},
                     {"seldom_directions", m.seldom_directions},
                     {"scale", m.scale}};
    if (m.held) j["held_out_values"] = {{"kept_back", m.held->values}};
    if (m.image) j["image"] = {m.image->height, m.image->width, m.image->channels};
    return j;
}

}  // namespace program
