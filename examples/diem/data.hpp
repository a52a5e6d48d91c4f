// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <diem/backend/eigen.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/posterior/observation.hpp>

#include "support/any_operator.hpp"
#include "support/image_batches.hpp"

/// What a user brings: observations and truths as npy (items first), operators as JSON.
namespace program {

using diem::index_t;
using backend_type = diem::eigen_backend<float>;
using images = diem::batch<backend_type>;
using image_view = diem::const_view_t<backend_type>;
using any_operator = support::any_operator<backend_type>;
using noise_type = diem::linop::diagonal_covariance<backend_type>;
using observation_type = diem::posterior::observation<backend_type, any_operator, noise_type>;

/// Numbers of any real type as float, items first. Throws io_error: no such file, no npy, no items, values that are not
/// finite (where `finite`).
[[nodiscard]] diem::io::array<float> load_items(const std::filesystem::path& path, bool finite = true);

/// With the folders above it. Throws io_error.
void make_folder(const std::filesystem::path& folder);

/// Writes items of `features` values, with the extents of the image where there is one.
void save_items(backend_type& b, const std::filesystem::path& path, image_view x,
                const std::optional<support::image_shape>& image);
[[nodiscard]] diem::io::shape_type shape_of(index_t items, index_t features,
                                            const std::optional<support::image_shape>& image);

/// (items, height, width) or (items, height, width, 1 or 3) as an image; none for other shapes.
[[nodiscard]] std::optional<support::image_shape> image_of(const diem::io::shape_type& shape);

/// An operator as the JSON describes it:
///     {"type": "identity"}
///     {"type": "mask", "values": "masks.npy", "channels": 1}   or "keep": a share, to be drawn
///     {"type": "dense", "matrix": "a.npy"}                     or "rows": a number, to be drawn
///     {"type": "averaging", "shape": [height, width, channels], "block": 2}
/// File names are relative to `folder`.
struct operator_description {
    std::string type, where;          ///< where: the file, for messages
    std::filesystem::path file;       ///< of a mask's values or of matrices; empty: to be drawn
    double keep = 0;                  ///< mask to be drawn: share of the values that are observed
    index_t rows = 0;                 ///< matrices to be drawn
    index_t channels = 1;             ///< mask: consecutive entries that one value holds for
    support::image_shape shape = {};  ///< averaging
    index_t block = 1;                ///< averaging
    [[nodiscard]] bool drawn() const { return keep > 0 || rows > 0; }
};
/// Throws config_error, naming file and key.
[[nodiscard]] operator_description describe(const diem::io::json& value, const std::string& where,
                                            const std::filesystem::path& folder);
[[nodiscard]] operator_description load_description(const std::filesystem::path& path);

/// sigma_y: one number, or an npy file of one number per row.
struct sigma_source {
    double value = 0;
    std::filesystem::path file{};
    /// A number, or the name of a file relative to `folder`. Throws config_error.
    [[nodiscard]] static sigma_source of(const diem::io::json& value, const std::string& where,
                                         const std::filesystem::path& folder);
    /// From a command line: a number, else a file.
    [[nodiscard]] static sigma_source of(const std::string& text);
};
[[nodiscard]] noise_type load_noise(backend_type& b, const sigma_source& sigma, index_t rows);

/// The operator for `items` items. `rows`: of the observations, `name` their file. Throws io_error, shape_error,
/// config_error (a description that is to be drawn).
[[nodiscard]] any_operator load_operator(backend_type& b, const operator_description& d, index_t items, index_t rows,
                                         const std::string& name);

/// Observations y = A x + e with what is known about them.
struct measured {
    images y;
    any_operator a;
    noise_type noise;
    std::optional<support::image_shape> image;  ///< of x
    double share = 1;  ///< of the values of y that no mask hides: also what a data residual is near to in a good fit
    [[nodiscard]] index_t items() const { return y.items(); }
    [[nodiscard]] index_t features() const { return a.cols(); }
    [[nodiscard]] observation_type observed(backend_type& b) const {
        return diem::posterior::observe(b, y.cview(), a, noise);
    }
};
/// Values of y that a mask hides may be anything, NaN too: zeros take their place. `image` may be empty: then it is read off
/// the shape of y, where that has one.
[[nodiscard]] measured load_measured(backend_type& b, const std::filesystem::path& y, const operator_description& d,
                                     const sigma_source& sigma, std::optional<support::image_shape> image);

/// The first observations as a picture; false where y is no image.
bool save_observed(backend_type& b, const std::filesystem::path& path, const measured& m, index_t count);

/// Pixels on the screen per pixel of an image.
[[nodiscard]] inline index_t scale_of(const support::image_shape& s) {
    return s.height >= 128 ? 1 : s.height >= 32 ? 2 : 4;
}

}  // namespace program
