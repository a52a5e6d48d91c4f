// SPDX-License-Identifier: Apache-2.0
#include "diem/files.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include <diem/io/config.hpp>

namespace program {

using namespace diem;
namespace fs = std::filesystem;

io::array<float> load_items(const fs::path& path, bool finite) {
    auto a = io::load_npy_as<float>(path);
    if (a.shape.empty() || a.items() < 1 || a.features() < 1)
        throw io_error(path.string() + ": shape " + io::to_string(a.shape) + ", expected (items, ...) with an item");
    if (!finite) return a;
    for (index_t k = 0; k < a.size(); ++k)
        if (!std::isfinite(a[k]))
            throw io_error(path.string() + ": value " + std::to_string(k % a.features()) + " of item " +
                           std::to_string(k / a.features()) + " is not finite");
    return a;
}

void make_folder(const fs::path& folder) {
    std::error_code code;
    fs::create_directories(folder, code);
    if (code) throw io_error(folder.string() + ": cannot create the folder: " + code.message());
}

io::shape_type shape_of(index_t items, index_t features, const std::optional<support::image_shape>& image) {
    if (image && image->height * image->width * image->channels == features)
        return {items, image->height, image->width, image->channels};
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

operator_description describe(const io::json& value, const std::string& where, const fs::path& folder) {
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
            .satisfies(d.type == "identity" || d.type == "mask" || d.type == "dense" || d.type == "averaging",
                       "one of identity, mask, dense, averaging, or of the operators on images: blur, downsample, "
                       "grey, window, "
                       "differences, radon, stack");
        std::string file;
        const auto file_or = [&](const char* name, const char* other) {
            if (c.contains(name) == c.contains(other))
                c.fail(name, std::string("expected either this or \"") + other + "\"");
            c.optional(name, file);
        };
        if (d.type == "mask") {
            file_or("values", "keep");
            c.optional("keep", d.keep).satisfies(!c.contains("keep") || (d.keep > 0 && d.keep <= 1), "in (0, 1]");
            c.optional("channels", d.channels).at_least(1);
        } else if (d.type == "dense") {
            file_or("matrix", "rows");
            c.optional("rows", d.rows).satisfies(!c.contains("rows") || d.rows > 0, "at least 1");
        } else if (d.type == "averaging") {
            std::vector<index_t> shape;
            c.required("shape", shape)
                .satisfies(shape.size() == 3 && *std::min_element(shape.begin(), shape.end()) > 0,
                           "[height, width, channels]");
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

sigma_source sigma_source::of(const io::json& value, const std::string& where, const fs::path& folder) {
    if (value.is_string()) return {0, folder / value.get<std::string>()};
    if (value.is_number() && value.get<double>() > 0 && std::isfinite(value.get<double>()))
        return {value.get<double>(), {}};
    throw config_error(where + ": \"sigma_y\": is " + value.dump() + ", expected a number above 0 or an npy file");
}
sigma_source sigma_source::of(const std::string& text) {
    double number = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (code != std::errc() || end != text.data() + text.size()) return {0, text};
    if (!(number > 0) || !std::isfinite(number))
        throw value_error("--sigma-y: is " + text + ", expected a number above 0 or an npy file");
    return {number, {}};
}
std::vector<float> load_variances(const sigma_source& sigma, index_t rows) {
    std::vector<float> variances(static_cast<std::size_t>(rows), static_cast<float>(sigma.value * sigma.value));
    if (!sigma.file.empty()) {
        const auto a = load_items(sigma.file);
        if (a.size() != rows)
            throw shape_error(sigma.file.string() + ": " + std::to_string(a.size()) +
                              " values of sigma_y, the observations have " + std::to_string(rows) + " rows");
        for (index_t k = 0; k < rows; ++k) {
            if (!(a[k] > 0))
                throw value_error(sigma.file.string() + ": value " + std::to_string(k) + " is not above 0");
            variances[static_cast<std::size_t>(k)] = a[k] * a[k];
        }
    }
    return variances;
}

namespace {

/// A mask of one value per `channels` rows, one for all items or one per item.
operator_numbers load_mask(const operator_description& d, index_t items, index_t rows, const std::string& name) {
    const auto a = load_items(d.file);
    for (index_t k = 0; k < a.size(); ++k)
        if (a[k] != 0 && a[k] != 1)
            throw value_error(d.file.string() + ": a mask holds 0 and 1, value " + std::to_string(k) + " is " +
                              std::to_string(a[k]));
    const bool shared = a.size() * d.channels == rows;
    if (!shared && (a.items() != items || a.features() * d.channels != rows))
        throw shape_error(d.file.string() + ": masks of shape " + io::to_string(a.shape) + " with " +
                          std::to_string(d.channels) + " channels do not fit " + name + ", " + std::to_string(items) +
                          " items of " + std::to_string(rows) + " values");
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(a.size() * d.channels));
    for (const float v : a.data) values.insert(values.end(), static_cast<std::size_t>(d.channels), v);
    return {std::move(values), rows, shared ? 1 : items, rows, shared};
}

/// Row-major matrices of a file, (rows, cols) for all items or (items, rows, cols), as the column-major ones of the library.
operator_numbers load_dense(const operator_description& d, index_t items, index_t rows, const std::string& name) {
    const auto a = load_items(d.file);
    const std::size_t axes = a.shape.size();
    if (axes != 2 && axes != 3)
        throw shape_error(d.file.string() + ": shape " + io::to_string(a.shape) +
                          ", expected (rows, columns) or (items, rows, columns)");
    const index_t count = axes == 3 ? a.shape[0] : 1, m = a.shape[axes - 2], n = a.shape[axes - 1];
    if (m != rows || (axes == 3 && count != items))
        throw shape_error(d.file.string() + ": matrices of shape " + io::to_string(a.shape) + " do not fit " + name +
                          ", " + std::to_string(items) + " items of " + std::to_string(rows) + " values");
    std::vector<float> values(a.data.size());
    for (index_t i = 0; i < count; ++i)
        for (index_t r = 0; r < m; ++r)
            for (index_t c = 0; c < n; ++c)
                values[static_cast<std::size_t>((i * n + c) * m + r)] = a[(i * m + r) * n + c];
    return {std::move(values), m * n, count, n, axes == 2};
}

}  // namespace

operator_numbers load_numbers(const operator_description& d, index_t items, index_t rows, const std::string& name) {
    if (d.type == "mask") return load_mask(d, items, rows, name);
    if (d.type == "dense") return load_dense(d, items, rows, name);
    return {std::vector<float>(static_cast<std::size_t>(rows), 1.0F), rows, 1, rows, true};
}
linop::subsample load_averaging(const operator_description& d, index_t rows, const std::string& name) {
    const linop::subsample a(d.shape.height, d.shape.width, d.shape.channels, d.block);
    if (a.rows() != rows)
        throw shape_error(d.where + ": averaging gives " + std::to_string(a.rows()) + " values, " + name + " has " +
                          std::to_string(rows) + " per item");
    return a;
}
void check_given(const operator_description& d) {
    if (d.drawn())
        throw config_error(d.where + ": \"" + (d.keep > 0 ? "keep" : "rows") +
                           "\" describes an operator to be drawn by diem observe; give \"" +
                           (d.keep > 0 ? "values" : "matrix") + "\", the file that holds it");
}

double clear_hidden(io::array<float>& y, const std::vector<float>& seen, const fs::path& file) {
    const index_t rows = y.features();
    index_t hidden = 0;
    for (index_t k = 0; k < y.size(); ++k) {
        if (!seen.empty() && seen[static_cast<std::size_t>(k) % seen.size()] == 0) {
            y[k] = 0;
            ++hidden;
        } else if (!std::isfinite(y[k])) {
            throw io_error(file.string() + ": value " + std::to_string(k % rows) + " of item " +
                           std::to_string(k / rows) + " is not finite");
        }
    }
    return 1 - static_cast<double>(hidden) / static_cast<double>(y.size());
}

void check_image(const std::optional<support::image_shape>& image, index_t features, const std::string& whose) {
    if (!image) return;
    const index_t values = image->height * image->width * image->channels;
    if (values != features)
        throw shape_error("the image shape " + io::to_string({image->height, image->width, image->channels}) + " has " +
                          std::to_string(values) + " values, " + whose + std::to_string(features));
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
