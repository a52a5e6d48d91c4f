// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
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

/// The operator for `items` items. `rows`: of the observations, `name` their file. Throws io_error, shape_error,
/// config_error (a description that is to be drawn).
template <Backend B>
[[nodiscard]] support::any_operator<B> load_operator(B& b, const operator_description& d, index_t items, index_t rows,
                                                     const std::string& name) {
    using namespace diem;
    check_given(d);
    if (d.type == "averaging") return load_averaging(d, rows, name);
    if (!d.steps.empty()) return load_steps(b, d, items, rows, name);
    const auto n = load_numbers(d, items, rows, name);
    if (d.type == "dense") {
        if (n.shared) return linop::dense<B>::shared(to_backend(b, n.values, rows, n.cols));
        return linop::dense<B>::per_item(to_backend(b, n.values, n.features, n.items), rows, n.cols);
    }
    auto values = to_backend(b, n.values, n.features, n.items);
    return n.shared ? linop::mask<B>::shared(std::move(values)) : linop::mask<B>::per_item(std::move(values));
}

/// Observations y = A x + e with what is known about them.
template <Backend B>
struct measured {
    diem::batch<B> y;
    support::any_operator<B> a;
    noise_type<B> noise;
    std::optional<support::image_shape> image;  ///< of x
    double share = 1;  ///< of the values of y that no mask hides: also what a data residual is near to in a good fit
    [[nodiscard]] index_t items() const { return y.items(); }
    [[nodiscard]] index_t features() const { return a.cols(); }
    [[nodiscard]] auto observed(B& b) const { return diem::posterior::observe(b, y.cview(), a, noise); }
};
/// See `clear_hidden` for values that a mask hides, and `shape_of_x` for `image`.
template <Backend B>
[[nodiscard]] measured<B> load_measured(B& b, const std::filesystem::path& y, const operator_description& d,
                                        const sigma_source& sigma, std::optional<support::image_shape> image) {
    auto values = load_items(y, false);
    const index_t items = values.items(), rows = values.features();
    auto a = load_operator(b, d, items, rows, y.string());
    std::vector<float> seen;
    if (const auto* mask = a.as_mask()) seen = to_host(b, mask->values().view());
    const double share = clear_hidden(values, seen, y);
    image = shape_of_x(d, a.as_mask() != nullptr, values.shape, a.cols(), image);
    auto noise = load_noise(b, sigma, rows);
    return {to_backend(b, values.data, rows, items), std::move(a), std::move(noise), image, share};
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
    if (!m.image || m.y.features() != m.features()) return;
    diem::batch<B> hidden;
    if (const auto* mask = m.a.as_mask()) {
        hidden = diem::batch<B>(b, m.features(), count);
        for (index_t i = 0; i < count; ++i)
            b.copy(mask->values().view().item_range(mask->is_shared() ? 0 : i, 1), hidden.view().item_range(i, 1));
    }
    diem::io::save_png(
        file, support::picture_row(b, m.y.cview().item_range(0, count), *m.image, scale_of(*m.image), hidden.cview()));
}

}  // namespace program
