// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <complex>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/view.hpp>
#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/linop/subsample.hpp>

#include "diem/host_items.hpp"
#include "diem/kspace.hpp"
#include "support/bounds.hpp"
#include "support/image_grid.hpp"
#include "support/image_operators.hpp"

/// What a user brings, in host memory: observations and truths as npy (items first), operators as JSON.
namespace program {

using diem::index_t;

using support::most_extent;
/// Random numbers tell 2^32 items apart.
inline constexpr index_t most_items = (index_t{1} << 32) - 1;

/// Where a file has the channels of an image: (items, height, width, channels), or (items, channels, height, width).
enum class layout { channels_last, channels_first };
/// "channels_last" or "channels_first"; throws config_error naming `where`.
[[nodiscard]] layout layout_of(const std::string& name, const std::string& where);
/// As channels_last; throws shape_error where `name` has not the four axes of images.
[[nodiscard]] diem::io::array<float> channels_last(diem::io::array<float> a, layout l, const std::string& name);

/// Numbers of any real type as float, items first, in any format of io/any_array.hpp. Throws io_error: no such file, no array, no items, values that are not
/// finite (where `finite`).
[[nodiscard]] diem::io::array<float> load_items(const std::filesystem::path& path, bool finite = true);
/// The same checks of an array that is there. Throws io_error naming `name`.
void check_items(const diem::io::shape_type& shape, std::span<const float> values, const std::string& name,
                 bool finite = true);

/// As channels_last of an array.
[[nodiscard]] host_items channels_last(host_items a, layout l, const std::string& name);

/// What is read without being loaded: a file of float32 in C order stays where it is, npy of other numbers is converted into
/// `memory` a piece at a time, and other files are loaded, as is said on the terminal. Throws io_error as `load_values`.
[[nodiscard]] host_items map_values(const std::filesystem::path& path, const host_memory_source& memory, bool finite);

/// The same of complex numbers, too: as a last axis (re, im).
[[nodiscard]] diem::io::array<float> load_values(const std::filesystem::path& path, bool finite = true);

/// Items of `features` values, with the extents of the image where there is one.
[[nodiscard]] diem::io::shape_type shape_of(index_t items, index_t features,
                                            const std::optional<support::image_shape>& image);

/// (items, height, width) or (items, height, width, 1 or 3) as an image; none for other shapes.
[[nodiscard]] std::optional<support::image_shape> image_of(const diem::io::shape_type& shape);

/// Whether images of this shape are complex, (re, im) being their channels.
[[nodiscard]] inline bool is_complex(const std::optional<support::image_shape>& s) { return s && s->channels == 2; }

/// notes["image"] of a prior, [height, width, channels]; none where it is not there. Throws io_error for anything else.
[[nodiscard]] std::optional<support::image_shape> image_of_notes(const diem::io::json& notes);
/// notes["scale"], 1 where it is not there: see "scale" of diem fit. Throws io_error for anything but a number above 0.
[[nodiscard]] double scale_of_notes(const diem::io::json& notes);

/// The name of a file, or a list of names, relative to `folder`. Throws config_error.
[[nodiscard]] std::vector<std::filesystem::path> file_list(const diem::io::config_object& c, const char* key,
                                                           const diem::io::json& value,
                                                           const std::filesystem::path& folder);

/// An operator as the JSON describes it:
///     {"type": "identity"}
///     {"type": "mask", "values": "masks.npy", "channels": 1}   or "keep": a share, to be drawn
///     {"type": "dense", "matrix": "a.npy"}                     or "rows": a number, to be drawn
///     {"type": "averaging", "shape": [height, width, channels], "block": 2}
///     {"type": "mri", "mask": "mask.npy", "coils": "maps.npy"}: diem/kspace.hpp
/// or steps on images, [{"type": "blur", "shape": [height, width, channels], ...}, ...]: support/image_operators.hpp.
/// With any of the first four "layout": "channels_first", of y and of the truth; with identity and mask "mask": "nan", entries
/// of y that are NaN are not seen. File names are relative to `folder`.
struct operator_description {
    std::string type, where;                   ///< where: the file, for messages
    std::filesystem::path file;                ///< of a mask's values or of matrices; empty: to be drawn
    double keep = 0;                           ///< mask to be drawn: share of the values that are observed
    index_t rows = 0;                          ///< matrices to be drawn
    index_t channels = 1;                      ///< mask: consecutive entries that one value holds for
    support::image_shape shape = {};           ///< averaging
    index_t block = 1;                         ///< averaging
    std::vector<support::image_step> steps{};  ///< type "image": what is done to an image, one after another
    layout order = layout::channels_last;      ///< of y, and of truths
    bool nan_is_hidden = false;                ///< NaN in y: not seen
    support::array_reader read = [](const std::filesystem::path& p) { return load_items(p); };  ///< of what it names
    host_memory_source large{};            ///< where large arrays lie that are not loaded; empty: they are loaded
    std::optional<mri_description> mri{};  ///< type "mri"
    [[nodiscard]] bool drawn() const { return keep > 0 || rows > 0 || (mri && mri->drawn); }
    /// The files that it names.
    [[nodiscard]] std::vector<std::filesystem::path> files() const;
};
/// Of an object, or of the name of a file with one. Throws config_error, naming file and key.
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
    /// From a command line (--sigma-y): a number, else a file.
    [[nodiscard]] static sigma_source of(const std::string& text);
    std::string where = "--sigma-y";  ///< for messages
    support::array_reader read = [](const std::filesystem::path& p) { return load_items(p); };
};
/// sigma_y^2 of each row. Throws io_error, shape_error, value_error, naming `sigma.where`.
[[nodiscard]] std::vector<float> load_variances(const sigma_source& sigma, index_t rows);

/// The numbers of a mask or of matrices (column-major), of one item for all or of each, `features` of them.
struct operator_numbers {
    host_items values;
    index_t features, items, cols;
    bool shared;
};
/// What an operator is loaded for.
struct observed_shape {
    diem::io::shape_type shape;  ///< of y, items first; channels last
    std::string name;            ///< its file
    [[nodiscard]] index_t items() const { return shape.front(); }
    [[nodiscard]] index_t rows() const { return diem::io::element_count({shape.begin() + 1, shape.end()}); }
};
/// Type "mask", "dense" or "identity", a mask that hides nothing. A value of a mask holds for all channels of a pixel: where y
/// has axes, the leading ones are the mask's. Throws io_error, shape_error, value_error.
[[nodiscard]] operator_numbers load_numbers(const operator_description& d, const observed_shape& y);
/// Zeros of the mask `n` where y is NaN, see `operator_description::nan_is_hidden`; NaN in y becomes 0.
void hide_nan(operator_numbers& n, host_items& y);
/// Type "averaging". Throws shape_error.
[[nodiscard]] diem::linop::subsample load_averaging(const operator_description& d, index_t rows,
                                                    const std::string& name);
/// Throws config_error where a description is to be drawn.
void check_given(const operator_description& d);

/// Zeros in place of what is hidden, where `seen` (empty: everything; else repeated) is 0: there y may be anything, NaN too.
/// The share of the rest. Throws io_error where a value of the rest is not finite.
double clear_hidden(host_items& y, std::span<const float> seen, const std::string& name);

/// Throws shape_error where an image has not `features` values; `whose`: "the prior of FILE has ".
void check_image(const std::optional<support::image_shape>& image, index_t features, const std::string& whose);
/// The shape of x: as given, else that of averaging or, behind a mask, of y. Throws shape_error where it has not `features`
/// values.
[[nodiscard]] std::optional<support::image_shape> shape_of_x(const operator_description& d, bool mask,
                                                             const diem::io::shape_type& y, index_t features,
                                                             std::optional<support::image_shape> given);

/// Real numbers, or the pairs of complex ones, as complex numbers.
[[nodiscard]] std::vector<std::complex<float>> complex_numbers(const std::vector<float>& values, bool pairs);
/// Of complex numbers (re, im).
[[nodiscard]] std::vector<float> magnitudes_of(const std::vector<float>& pairs);

/// Pixels on the screen per pixel of an image.
[[nodiscard]] inline index_t scale_of(const support::image_shape& s) {
    return s.height >= 128 ? 1 : s.height >= 32 ? 2 : 4;
}
/// Whether there is a picture of it: one to four channels, and not too large for a PNG.
[[nodiscard]] inline bool has_picture(const std::optional<support::image_shape>& s) {
    return s && s->channels <= 4 && s->height * s->width <= (index_t{1} << 26);
}
/// How many images fit into one picture, at most `most`.
[[nodiscard]] inline index_t fitting(const support::image_shape& s, index_t most) {
    const index_t side = scale_of(s), each = s.height * s.width * side * side * 4;
    return std::clamp<index_t>((index_t{1} << 28) / each, 1, most);
}

}  // namespace program
