// SPDX-License-Identifier: Apache-2.0
#include "diem/files.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <utility>
#include <vector>

#include <diem/io/any_array.hpp>
#include <diem/io/config.hpp>
#include <diem/io/mapped.hpp>

#include "support/memory.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

io::array<float> load_items(const fs::path& path, bool finite) {
    support::check_file(path);
    auto a = io::load_real_array<float>(path);
    check_items(a.shape, a.data, path.string(), finite);
    return a;
}
io::array<float> load_values(const fs::path& path, bool finite) {
    support::check_file(path);
    auto a = io::load_array<float>(path).values;
    check_items(a.shape, a.data, path.string(), finite);
    return a;
}
host_items map_values(const fs::path& path, const host_memory_source& memory, bool finite) {
    const auto load = [&](const std::string& why) {
        std::cout << path.string() << ": " << why << ": it is loaded into memory; npy in C order is not" << std::endl;
        auto a = load_values(path, finite);
        const auto values = std::make_shared<std::vector<float>>(std::move(a.data));
        return host_items(std::move(a.shape), *values, values, memory);
    };
    const auto place = io::place_of(path);
    if (!place.name.empty() || io::lower_extension(path) == ".cfl" || io::kind_of(path) != io::file_kind::npy)
        return load("is no npy");
    const auto header = io::load_npy_header(path);
    if (header.column_major && header.shape.size() > 1) return load("is in Fortran order");
    if (io::can_map<float>(header)) {
        auto mapped = io::map_npy<float>(path);
        check_items(mapped.shape, mapped.values, path.string(), finite);
        return {std::move(mapped.shape), mapped.values, std::move(mapped.file), memory};
    }
    auto shape = header.shape;
    if (io::is_complex(header.type)) shape.push_back(2);
    if (io::element_count(shape) == 0) check_items(shape, {}, path.string());
    host_items items(std::move(shape), memory);
    io::read_npy_into<float>(path, items.mutable_values());
    check_items(items.shape(), items.values(), path.string(), finite);
    return items;
}
void check_items(const io::shape_type& shape, std::span<const float> values, const std::string& name, bool finite) {
    if (shape.empty() || values.empty())
        throw io_error(name + ": shape " + io::to_string(shape) + ", expected (items, ...) with an item");
    if (!finite) return;
    const std::size_t features = values.size() / static_cast<std::size_t>(shape.front());
    for (std::size_t k = 0; k < values.size(); ++k)
        if (!std::isfinite(values[k]))
            throw io_error(name + ": value " + std::to_string(k % features) + " of item " +
                           std::to_string(k / features) + " is not finite");
}

layout layout_of(const std::string& name, const std::string& where) {
    if (name == "channels_last") return layout::channels_last;
    if (name == "channels_first") return layout::channels_first;
    throw config_error(where + ": is \"" + name + "\", expected \"channels_last\" or \"channels_first\"");
}
namespace {

/// (items, channels, pixels) as (items, pixels, channels).
void channels_to_the_end(std::span<const float> from, index_t items, index_t channels, index_t pixels,
                         std::span<float> to) {
    for (index_t i = 0; i < items; ++i)
        for (index_t c = 0; c < channels; ++c)
            for (index_t p = 0; p < pixels; ++p)
                to[static_cast<std::size_t>((i * pixels + p) * channels + c)] =
                    from[static_cast<std::size_t>((i * channels + c) * pixels + p)];
}

}  // namespace

host_items channels_last(host_items a, layout l, const std::string& name) {
    if (l == layout::channels_last) return a;
    const auto& s = a.shape();
    if (s.size() != 4)
        throw shape_error(name + ": shape " + io::to_string(s) +
                          ", expected (items, channels, height, width) for \"layout\": \"channels_first\"");
    host_items out({s[0], s[2], s[3], s[1]}, a.memory());
    channels_to_the_end(a.values(), s[0], s[1], s[2] * s[3], out.mutable_values());
    return out;
}
io::array<float> channels_last(io::array<float> a, layout l, const std::string& name) {
    if (l == layout::channels_last) return a;
    const auto out = channels_last(host_items(a.shape, a.data), l, name);
    return {out.shape(), {out.values().begin(), out.values().end()}};
}

namespace {

/// Values of an image; -1 where they cannot be counted.
index_t values_of(const support::image_shape& s) {
    index_t count = 0;
    return io::element_count({s.height, s.width, s.channels}, count) ? count : -1;
}

}  // namespace

io::shape_type shape_of(index_t items, index_t features, const std::optional<support::image_shape>& image) {
    if (image && values_of(*image) == features) return {items, image->height, image->width, image->channels};
    return {items, features};
}

std::optional<support::image_shape> image_of(const io::shape_type& shape) {
    if (shape.size() == 3) return support::image_shape{shape[1], shape[2], 1};
    if (shape.size() == 4 && (shape[3] == 1 || shape[3] == 3))
        return support::image_shape{shape[1], shape[2], shape[3]};
    return std::nullopt;
}

std::optional<support::image_shape> image_of_notes(const io::json& notes) {
    if (!notes.contains("image")) return std::nullopt;
    try {
        const auto sizes = notes.at("image").get<std::vector<index_t>>();
        if (sizes.size() == 3) return support::image_shape{sizes[0], sizes[1], sizes[2]};
    } catch (const io::json::exception&) {
    }
    throw io_error("the prior's notes: \"image\" is " + notes.at("image").dump() +
                   ", expected [height, width, channels]");
}

double scale_of_notes(const io::json& notes) {
    if (!notes.contains("scale")) return 1;
    const auto& scale = notes.at("scale");
    if (scale.is_number() && scale.get<double>() > 0 && std::isfinite(scale.get<double>())) return scale.get<double>();
    throw io_error("the prior's notes: \"scale\" is " + scale.dump() + ", expected a number above 0");
}

std::vector<fs::path> file_list(const io::config_object& c, const char* key, const io::json& value,
                                const fs::path& folder) {
    const io::json list = value.is_string() ? io::json::array({value}) : value;
    const bool good = list.is_array() && !list.empty() && std::all_of(list.begin(), list.end(), [](const auto& v) {
                          return v.is_string() && !v.template get<std::string>().empty();
                      });
    if (!good) c.fail(key, "expected the name of a file, or a list of them");
    std::vector<fs::path> files;
    for (const auto& v : list) files.push_back(folder / v.get<std::string>());
    return files;
}

namespace {

mri::mask_options read_drawn_mask(io::config_object& c) {
    mri::mask_options o;
    std::string kind = "bernoulli";
    c.optional("kind", kind).one_of({"bernoulli", "equispaced", "random", "poisson_disk"});
    o.kind = kind == "equispaced"     ? mri::mask_kind::equispaced
             : kind == "random"       ? mri::mask_kind::random
             : kind == "poisson_disk" ? mri::mask_kind::poisson_disk
                                      : mri::mask_kind::bernoulli;
    c.required("acceleration", o.acceleration).satisfies(o.acceleration >= 1 && o.acceleration <= 1000, "1 to 1000");
    c.optional("centre", o.centre).at_least(-1).at_most(most_extent);
    c.optional("full_size", o.full_size);
    c.optional("falloff", o.falloff).satisfies(o.falloff >= 0 && o.falloff <= 100, "0 to 100");
    return o;
}

mri_description read_mri(io::config_object& c, const std::string& where, const fs::path& folder) {
    mri_description d;
    d.where = where;
    io::json mask;
    c.optional("mask", mask);
    if (mask.is_object()) {
        io::config_object inner(mask, where, "mask");
        d.drawn = read_drawn_mask(inner);
        inner.finish();
    } else {
        if (!mask.is_null()) d.masks = file_list(c, "mask", mask, folder);
    }
    std::string image, way;
    io::json coils;
    c.optional("coils", coils);
    d.espirit = coils == "espirit";
    if (!coils.is_null() && !d.espirit) d.coils = file_list(c, "coils", coils, folder);
    auto said = c.optional("image", image);
    if (!image.empty()) said.one_of({"real", "complex"});
    d.complex = d.espirit || !d.coils.empty() || image == "complex";
    if (d.complex && image == "real") c.fail("image", "with \"coils\" the image is complex");
    std::vector<index_t> size;
    c.optional("size", size)
        .satisfies(!c.contains("size") || (size.size() == 2 && *std::min_element(size.begin(), size.end()) > 0 &&
                                           *std::max_element(size.begin(), size.end()) <= most_extent),
                   "[height, width] of x, 1 to " + std::to_string(most_extent));
    if (!size.empty()) {
        d.height = size[0];
        d.width = size[1];
    }
    auto how = c.optional("fit", way);
    if (!way.empty()) how.one_of({"crop", "pad", "crop_or_pad"});
    if (!way.empty() && size.empty()) c.fail("fit", "needs \"size\", the one of x");
    d.crop = way == "crop" || way == "crop_or_pad";
    d.pad = way == "pad" || way == "crop_or_pad";
    return d;
}

}  // namespace

std::vector<fs::path> operator_description::files() const {
    std::vector<fs::path> all;
    if (!file.empty()) all.push_back(file);
    if (mri) {
        all.insert(all.end(), mri->masks.begin(), mri->masks.end());
        all.insert(all.end(), mri->coils.begin(), mri->coils.end());
    }
    return all;
}

operator_description describe(const io::json& value, const std::string& where, const fs::path& folder) {
    if (value.is_string()) return load_description(folder / value.get<std::string>());
    operator_description d;
    d.where = where;
    if (support::is_image_operator(value)) {
        d.type = "image";
        d.steps = support::read_image_steps(value, where, folder);
        const auto& x = d.steps.front().from;
        d.shape = {x.height, x.width, x.channels};
        return d;
    }
    const io::config_source source{value, where};
    io::read_config(source, [&](io::config_object& c) {
        c.ignore("comment");
        c.required("type", d.type)
            .satisfies(d.type == "identity" || d.type == "mask" || d.type == "dense" || d.type == "averaging" ||
                           d.type == "mri",
                       "one of identity, mask, dense, averaging, mri, or of the operators on images: blur, downsample, "
                       "grey, window, "
                       "differences, radon, stack");
        std::string order = "channels_last";
        c.optional("layout", order).one_of({"channels_last", "channels_first"});
        d.order = layout_of(order, where);
        std::string hidden;
        if (d.type == "identity" || d.type == "mask") {
            c.optional("mask", hidden).satisfies(!c.contains("mask") || hidden == "nan", "\"nan\"");
            d.nan_is_hidden = !hidden.empty();
        }
        if (d.type == "mri") {
            d.mri = read_mri(c, where, folder);
            return;
        }
        std::string file;
        const auto file_or = [&](const char* name, const char* other) {
            if (c.contains(name) == c.contains(other))
                c.fail(name, std::string("expected either this or \"") + other + "\"");
            c.optional(name, file).satisfies(!c.contains(name) || !file.empty(), "the name of a file");
        };
        if (d.type == "mask") {
            if (!d.nan_is_hidden || c.contains("values") || c.contains("keep")) file_or("values", "keep");
            if (file == "nan") {
                d.nan_is_hidden = true;
                file.clear();
            }
            c.optional("keep", d.keep).satisfies(!c.contains("keep") || (d.keep > 0 && d.keep <= 1), "in (0, 1]");
            if (d.keep > 0 && d.nan_is_hidden) c.fail("keep", "does not go with \"mask\": \"nan\"");
            c.optional("channels", d.channels).at_least(1).at_most(most_extent);
        } else if (d.type == "dense") {
            file_or("matrix", "rows");
            c.optional("rows", d.rows)
                .satisfies(!c.contains("rows") || (d.rows > 0 && d.rows <= most_extent),
                           "1 to " + std::to_string(most_extent));
        } else if (d.type == "averaging") {
            std::vector<index_t> shape;
            c.required("shape", shape)
                .satisfies(shape.size() == 3 && *std::min_element(shape.begin(), shape.end()) > 0 &&
                               *std::max_element(shape.begin(), shape.end()) <= most_extent,
                           "[height, width, channels], 1 to " + std::to_string(most_extent));
            d.shape = {shape[0], shape[1], shape[2]};
            c.required("block", d.block)
                .satisfies(d.block > 0 && shape[0] % d.block == 0 && shape[1] % d.block == 0,
                           "a divisor of height and width");
        }
        if (!file.empty()) d.file = folder / file;
    });
    return d;
}
operator_description load_description(const fs::path& path) {
    return describe(io::load_config(path).value, path.string(), path.parent_path());
}

namespace {

/// Whether a variance, and one over it, are numbers of single precision.
bool is_sigma(double sigma) { return sigma >= 1e-15 && sigma <= 1e15; }
constexpr const char* expected_sigma = ", expected a number from 1e-15 to 1e15, or an npy file";

}  // namespace

sigma_source sigma_source::of(const io::json& value, const std::string& where, const fs::path& folder) {
    const std::string key = where + ": \"sigma_y\"";
    if (value.is_string() && !value.get<std::string>().empty()) return {0, folder / value.get<std::string>(), key};
    if (value.is_number() && is_sigma(value.get<double>())) return {value.get<double>(), {}, key};
    throw config_error(key + ": is " + value.dump() + expected_sigma);
}
sigma_source sigma_source::of(const std::string& text) {
    double number = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_number = end == text.data() + text.size() && !text.empty() && code != std::errc::invalid_argument;
    if (!is_number && !text.empty()) return {0, text};
    if (!is_number || code != std::errc() || !is_sigma(number))
        throw value_error("--sigma-y: is " + (text.empty() ? "\"\"" : text.substr(0, 40)) + expected_sigma);
    return {number, {}};
}
std::vector<float> load_variances(const sigma_source& sigma, index_t rows) {
    std::vector<float> variances(static_cast<std::size_t>(rows), static_cast<float>(sigma.value * sigma.value));
    if (!sigma.file.empty()) {
        io::array<float> a;
        try {
            a = sigma.read(sigma.file);
        } catch (const io_error& e) {
            throw io_error(sigma.where + ": " + e.what());
        }
        if (a.size() != rows)
            throw shape_error(sigma.where + ": " + sigma.file.string() + ": " + std::to_string(a.size()) +
                              " values of sigma_y, the observations have " + std::to_string(rows) + " rows");
        for (index_t k = 0; k < rows; ++k) {
            if (!is_sigma(static_cast<double>(a[k])))
                throw value_error(sigma.where + ": " + sigma.file.string() + ": value " + std::to_string(k) + " is " +
                                  io::json(a[k]).dump() + ", expected a number from 1e-15 to 1e15");
            variances[static_cast<std::size_t>(k)] = a[k] * a[k];
        }
    }
    return variances;
}

namespace {

/// The axes of an item without those of length 1.
io::shape_type axes_of(const io::shape_type& shape, std::size_t first) {
    io::shape_type axes;
    for (std::size_t k = first; k < shape.size(); ++k)
        if (shape[k] != 1) axes.push_back(shape[k]);
    return axes;
}
/// Whether the values of a mask with these axes lie in the order of the pixels of an item of y, `channels` entries each. One
/// axis is any order: the user's.
bool same_order(const io::shape_type& mask, io::shape_type y, index_t channels) {
    if (y.size() < 2) return true;
    if (channels > 1) {
        if (y.back() != channels) return false;
        y.pop_back();
    }
    return mask.size() < 2 || mask == y;
}

/// A mask of one value per `channels` rows, one for all items or one per item.
operator_numbers load_mask(const operator_description& d, const observed_shape& y) {
    const index_t items = y.items(), rows = y.rows();
    if (d.file.empty())
        return {host_items(io::array<float>({rows}, std::vector<float>(static_cast<std::size_t>(rows), 1.0F))), rows, 1,
                rows, true};
    auto a = d.large ? map_values(d.file, d.large, true) : host_items(d.read(d.file));
    const auto& extents = y.shape;  // a mask of every entry may have its channels first as y had
    if (d.order == layout::channels_first && extents.size() == 4 &&
        io::shape_type(a.shape().begin() + 1, a.shape().end()) == io::shape_type{extents[3], extents[1], extents[2]})
        a = channels_last(std::move(a), d.order, d.file.string());
    for (index_t k = 0; k < a.size(); ++k)
        if (a[k] != 0 && a[k] != 1)
            throw value_error(d.file.string() + ": a mask holds 0 and 1, value " + std::to_string(k) + " is " +
                              std::to_string(a[k]));
    const auto fits = [&](index_t values) { return rows % d.channels == 0 && values == rows / d.channels; };
    const bool shared = fits(a.size()), each = a.items() == items && fits(a.features());
    const std::string masks = d.file.string() + ": masks of shape " + io::to_string(a.shape()) + " with " +
                              std::to_string(d.channels) + " channels do not fit " + y.name;
    if (!shared && !each)
        throw shape_error(masks + ", " + std::to_string(items) + " items of " + std::to_string(rows) + " values");
    // (N, ...) with N = 1 item is one for all, too.
    if (!same_order(axes_of(a.shape(), each ? 1 : 0), axes_of(y.shape, 1), d.channels))
        throw shape_error(masks + " of shape " + io::to_string(y.shape) +
                          ": the last axis of y must be the channels, and the axes before it those of the mask; for " +
                          "(items, channels, height, width) give the operator \"layout\": \"channels_first\"");
    if (d.channels == 1) return {std::move(a), rows, shared ? 1 : items, rows, shared};
    host_items values({shared ? 1 : items, rows}, a.memory());
    auto to = values.mutable_values().begin();
    for (const float v : a.values()) to = std::fill_n(to, d.channels, v);
    return {std::move(values), rows, shared ? 1 : items, rows, shared};
}

/// Row-major matrices of a file, (rows, cols) for all items or (items, rows, cols), as the column-major ones of the library.
operator_numbers load_dense(const operator_description& d, const observed_shape& y) {
    const index_t items = y.items(), rows = y.rows();
    const auto a = d.read(d.file);
    const std::size_t axes = a.shape.size();
    if (axes != 2 && axes != 3)
        throw shape_error(d.file.string() + ": shape " + io::to_string(a.shape) +
                          ", expected (rows, columns) or (items, rows, columns)");
    const index_t count = axes == 3 ? a.shape[0] : 1, m = a.shape[axes - 2], n = a.shape[axes - 1];
    if (m != rows || (axes == 3 && count != items))
        throw shape_error(d.file.string() + ": matrices of shape " + io::to_string(a.shape) + " do not fit " + y.name +
                          ", " + std::to_string(items) + " items of " + std::to_string(rows) + " values");
    std::vector<float> values(a.data.size());
    for (index_t i = 0; i < count; ++i)
        for (index_t r = 0; r < m; ++r)
            for (index_t c = 0; c < n; ++c)
                values[static_cast<std::size_t>((i * n + c) * m + r)] = a[(i * m + r) * n + c];
    return {host_items(io::array<float>({count, n, m}, std::move(values))), m * n, count, n, axes == 2};
}

}  // namespace

operator_numbers load_numbers(const operator_description& d, const observed_shape& y) {
    return d.type == "dense" ? load_dense(d, y) : load_mask(d, y);
}
void hide_nan(operator_numbers& n, host_items& y) {
    if (n.shared) {
        host_items each({y.items(), n.features}, y.memory());
        auto to = each.mutable_values().begin();
        for (index_t i = 0; i < y.items(); ++i) to = std::copy(n.values.values().begin(), n.values.values().end(), to);
        n.values = std::move(each);
        n.items = y.items();
        n.shared = false;
    }
    for (index_t k = 0; k < y.size(); ++k) {
        if (!std::isnan(y[k])) continue;
        n.values.set(k, 0);
        y.set(k, 0);
    }
}
linop::subsample load_averaging(const operator_description& d, index_t rows, const std::string& name) {
    const linop::subsample a(d.shape.height, d.shape.width, d.shape.channels, d.block);
    if (a.rows() != rows)
        throw shape_error(d.where + ": averaging gives " + std::to_string(a.rows()) + " values, " + name + " has " +
                          std::to_string(rows) + " per item");
    return a;
}
void check_given(const operator_description& d) {
    if (d.mri || !d.drawn()) return;  // masks of the operator mri: see load_mri
    throw config_error(d.where + ": \"" + (d.keep > 0 ? "keep" : "rows") +
                       "\" describes an operator to be drawn by diem observe; give \"" +
                       (d.keep > 0 ? "values" : "matrix") + "\", the file that holds it");
}

double clear_hidden(host_items& y, std::span<const float> seen, const std::string& name) {
    const index_t rows = y.features();
    index_t hidden = 0;
    for (index_t k = 0; k < y.size(); ++k) {
        if (!seen.empty() && seen[static_cast<std::size_t>(k) % seen.size()] == 0) {
            if (!(y[k] == 0)) y.set(k, 0);
            ++hidden;
        } else if (!std::isfinite(y[k])) {
            throw io_error(name + ": value " + std::to_string(k % rows) + " of item " + std::to_string(k / rows) +
                           " is not finite" +
                           (std::isnan(y[k]) ? "; where NaN means not seen, give the operator \"mask\": \"nan\"" : ""));
        }
    }
    if (hidden == y.size()) throw value_error(name + ": the mask hides every value: nothing was seen");
    return 1 - static_cast<double>(hidden) / static_cast<double>(y.size());
}

std::vector<std::complex<float>> complex_numbers(const std::vector<float>& values, bool pairs) {
    std::vector<std::complex<float>> out;
    out.reserve(values.size() / (pairs ? 2 : 1));
    for (std::size_t k = 0; k < values.size(); k += pairs ? 2 : 1)
        out.emplace_back(values[k], pairs ? values[k + 1] : 0.0F);
    return out;
}

std::vector<float> magnitudes_of(const std::vector<float>& pairs) {
    std::vector<float> out(pairs.size() / 2);
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = std::hypot(pairs[2 * k], pairs[2 * k + 1]);
    return out;
}

void check_image(const std::optional<support::image_shape>& image, index_t features, const std::string& whose) {
    if (!image) return;
    const index_t values = values_of(*image);
    if (values != features)
        throw shape_error("the image shape " + io::to_string({image->height, image->width, image->channels}) + " has " +
                          (values < 0 ? std::string("too many") : std::to_string(values)) + " values, " + whose +
                          std::to_string(features));
}
std::optional<support::image_shape> shape_of_x(const operator_description& d, bool mask, const io::shape_type& y,
                                               index_t features, std::optional<support::image_shape> given) {
    auto image = given;
    if (!image && (d.type == "averaging" || d.type == "image") && (d.shape.channels == 1 || d.shape.channels == 3))
        image = d.shape;
    if (!image && mask) image = image_of(y);
    check_image(image, features, "the operator of " + d.where + " takes ");
    return image;
}

}  // namespace program
