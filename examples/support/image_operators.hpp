// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/io/npy.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/image.hpp>
#include <diem/linop/radon.hpp>

#include "support/any_operator.hpp"
#include "support/bounds.hpp"

/// Operators on images from JSON: [{"type": "blur", "shape": [H, W, C], ...}, {"type": "downsample", ...}], applied
/// from left to right; docs/command_line.md has the list.
namespace support {

/// Where arrays that a description names come from: files, unless a caller has them.
using array_reader = std::function<diem::io::array<float>(const std::filesystem::path&)>;

/// One step, read but not yet made.
struct image_step {
    std::string type;
    diem::linop::image_extent from, to;  ///< images before and after
    diem::linop::border border = diem::linop::border::reflect;
    std::vector<double> kernel{};  ///< blur
    std::filesystem::path file{};  ///< blur: of kernels; mask: of its values
    diem::index_t size = 0, top = 0, left = 0;
    std::vector<diem::index_t> stride{};
    diem::linop::filter filter = diem::linop::filter::box;
    std::vector<double> numbers{};                 ///< grey: weights; radon: angles
    std::vector<std::vector<image_step>> parts{};  ///< stack
};

/// Of all values of an image.
inline constexpr diem::index_t most_image_values = diem::index_t{1} << 32;

inline constexpr const char* image_step_types[] = {"blur", "downsample",  "grey",  "window",
                                                   "mask", "differences", "radon", "stack"};

/// Whether this is read by `read_image_steps`: an array, or a type that is not a program's own ("mask" is, on its own).
[[nodiscard]] inline bool is_image_operator(const diem::io::json& value) {
    if (value.is_array()) return true;
    if (!value.is_object() || !value.contains("type") || !value["type"].is_string()) return false;
    const auto type = value["type"].get<std::string>();
    return type != "mask" &&
           std::find(std::begin(image_step_types), std::end(image_step_types), type) != std::end(image_step_types);
}

/// File names in such a description, so that it can be written elsewhere.
inline void make_files_absolute(diem::io::json& value, const std::filesystem::path& folder) {
    for (auto& [key, entry] : value.items()) {
        if (entry.is_structured())
            make_files_absolute(entry, folder);
        else if ((key == "kernel" || key == "values" || key == "degrees_of_items") && entry.is_string())
            entry = std::filesystem::absolute(folder / entry.get<std::string>()).string();
    }
}

namespace detail {

inline diem::linop::border border_from(const std::string& name) {
    return name == "zero"       ? diem::linop::border::zero
           : name == "circular" ? diem::linop::border::circular
                                : diem::linop::border::reflect;
}

/// Reads one step; `before`: what it is applied to, unless it says so itself.
image_step read_image_step(diem::io::config_object& c, const std::string& where, const std::string& path,
                           const std::filesystem::path& folder, std::optional<diem::linop::image_extent> before);

}  // namespace detail

/// Throws config_error, naming file and key. The first step has the key "shape", [height, width, channels] of x.
[[nodiscard]] inline std::vector<image_step> read_image_steps(
    const diem::io::json& value, const std::string& where, const std::filesystem::path& folder,
    const std::string& path = {}, std::optional<diem::linop::image_extent> before = std::nullopt) {
    std::vector<image_step> steps;
    const auto one = [&](const diem::io::json& object, const std::string& place) {
        diem::io::config_object c(object, where, place);
        steps.push_back(detail::read_image_step(c, where, place, folder, before));
        c.finish();
        before = steps.back().to;
    };
    if (!value.is_array()) {
        one(value, path);
    } else {
        if (value.empty()) diem::io::config_fail(where, path, "no operator in the list");
        for (std::size_t k = 0; k < value.size(); ++k) one(value[k], path + "[" + std::to_string(k) + "]");
    }
    return steps;
}

inline image_step detail::read_image_step(diem::io::config_object& c, const std::string& where, const std::string& path,
                                          const std::filesystem::path& folder,
                                          std::optional<diem::linop::image_extent> before) {
    using diem::index_t;
    image_step s;
    const auto extents = [](const std::vector<index_t>& v, std::size_t count) {
        return v.size() == count &&
               std::all_of(v.begin(), v.end(), [](index_t n) { return n >= 1 && n <= most_extent; });
    };
    const std::string range = ", 1 to " + std::to_string(most_extent);
    const auto check_values = [&](const char* key, const diem::linop::image_extent& e) {
        if (e.size() > most_image_values)
            c.fail(key, "images of " + std::to_string(e.height) + " x " + std::to_string(e.width) + " x " +
                            std::to_string(e.channels) + " have more than " + std::to_string(most_image_values) +
                            " values");
    };
    c.ignore("comment");
    c.required("type", s.type)
        .satisfies(
            std::find(std::begin(image_step_types), std::end(image_step_types), s.type) != std::end(image_step_types),
            "one of blur, downsample, grey, window, mask, differences, radon, stack");
    if (before) {
        s.from = *before;
    } else {
        std::vector<index_t> shape;
        c.required("shape", shape).satisfies(extents(shape, 3), "[height, width, channels]" + range);
        s.from = {shape[0], shape[1], shape[2]};
        check_values("shape", s.from);
    }
    s.to = s.from;
    std::string file;
    if (s.type == "blur") {
        std::string kind = "reflect";
        c.optional("border", kind).one_of({"zero", "circular", "reflect"});
        s.border = border_from(kind);
        if (c.contains("kernel") + c.contains("gaussian") + c.contains("motion") != 1)
            c.fail("type", "expected one of \"kernel\", \"gaussian\" and \"motion\" beside it");
        std::vector<double> motion;
        double sigma = 0;
        c.optional("kernel", file);
        c.optional("gaussian", sigma)
            .satisfies(!c.contains("gaussian") || (sigma > 0 && sigma <= 1e3), "above 0, at most 1000");
        c.optional("motion", motion)
            .satisfies(!c.contains("motion") || (motion.size() == 2 && motion[0] > 0 && motion[0] <= 1e3),
                       "[length, degrees], the length above 0");
        if (sigma > 0) {
            s.size = 2 * static_cast<index_t>(std::ceil(3 * sigma)) + 1;
            s.kernel = diem::linop::gaussian_kernel(s.size, sigma);
        } else if (!motion.empty()) {
            s.size = 2 * static_cast<index_t>(std::ceil(motion[0] / 2)) + 3;
            s.kernel = diem::linop::motion_kernel(s.size, motion[0], motion[1]);
        }
    } else if (s.type == "downsample") {
        std::string name = "box";
        c.required("stride", s.stride).satisfies(extents(s.stride, 2), "[down, across]" + range);
        c.optional("filter", name).one_of({"box", "bicubic"});
        s.filter = name == "box" ? diem::linop::filter::box : diem::linop::filter::bicubic;
        s.to.height = (s.from.height + s.stride[0] - 1) / s.stride[0];
        s.to.width = (s.from.width + s.stride[1] - 1) / s.stride[1];
    } else if (s.type == "grey") {
        s.numbers = {0.299, 0.587, 0.114};
        c.optional("weights", s.numbers)
            .satisfies(static_cast<index_t>(s.numbers.size()) == s.from.channels,
                       "one number for each of the " + std::to_string(s.from.channels) + " channels");
        s.to.channels = 1;
    } else if (s.type == "window") {
        std::string kind = "zero";
        std::vector<index_t> size;
        c.optional("border", kind).one_of({"zero", "circular", "reflect"});
        s.border = border_from(kind);
        c.optional("top", s.top).at_least(-most_extent).at_most(most_extent);
        c.optional("left", s.left).at_least(-most_extent).at_most(most_extent);
        c.required("size", size).satisfies(extents(size, 2), "[height, width]" + range);
        s.to.height = size[0];
        s.to.width = size[1];
    } else if (s.type == "mask") {
        c.required("values", file);
    } else if (s.type == "differences") {
        s.to = {2 * s.from.pixels() - s.from.height - s.from.width, 1, s.from.channels};
    } else if (s.type == "radon") {
        index_t count = 0;
        if (c.contains("angles") == c.contains("degrees")) c.fail("angles", "expected either this or \"degrees\"");
        c.optional("angles", count)
            .satisfies(!c.contains("angles") || (count > 0 && count <= 100000), "a number of angles, 1 to 100000");
        c.optional("degrees", s.numbers)
            .satisfies(!c.contains("degrees") || (!s.numbers.empty() && s.numbers.size() <= 100000),
                       "1 to 100000 angles");
        c.optional("degrees_of_items", file)
            .satisfies(file.empty() || count > 0, "a file beside \"angles\", the number of them");
        for (index_t k = 0; k < count; ++k)
            s.numbers.push_back(180.0 * static_cast<double>(k) / static_cast<double>(count));
        s.size = static_cast<index_t>(
            std::ceil(std::hypot(static_cast<double>(s.from.height), static_cast<double>(s.from.width))));
        c.optional("detectors", s.size).at_least(1).at_most(4 * most_extent);
        s.to.height = static_cast<index_t>(s.numbers.size());
        s.to.width = s.size;
    } else {
        diem::io::json parts;
        c.required("parts", parts);
        if (!parts.is_array() || parts.empty() || parts.size() > 1000)
            c.fail("parts", "expected a list of 1 to 1000 operators");
        s.to = {0, 1, 1};
        for (std::size_t k = 0; k < parts.size(); ++k) {
            s.parts.push_back(read_image_steps(parts[k], where, folder,
                                               (path.empty() ? "" : path + ".") + "parts[" + std::to_string(k) + "]",
                                               s.from));
            s.to.height += s.parts.back().back().to.size();
        }
    }
    check_values("type", s.to);
    if (!file.empty()) s.file = folder / file;
    return s;
}

/// What the steps are, for `items` items where a file has something for each. Throws io_error, shape_error.
template <diem::Backend B>
[[nodiscard]] any_operator<B> make_image_operator(B& b, const std::vector<image_step>& steps,
                                                  const array_reader& read = diem::io::load_npy_as<float>) {
    using namespace diem;
    using convolution = linop::convolution<B>;
    using T = scalar_t<B>;
    const auto numbers = [&](const std::vector<float>& v, index_t features, index_t n) {
        return to_backend(b, std::vector<T>(v.begin(), v.end()), features, n);
    };
    std::vector<any_operator<B>> parts;
    for (const image_step& s : steps) {
        if (s.type == "blur" && s.file.empty()) {
            const auto kernel = to_backend(b, std::vector<T>(s.kernel.begin(), s.kernel.end()), s.size * s.size, 1);
            parts.push_back(convolution::shared(b, s.from, kernel.cview(), s.size, s.size, s.border));
        } else if (s.type == "blur") {
            const auto k = read(s.file);
            if (k.shape.size() != 2 && k.shape.size() != 3)
                throw shape_error(s.file.string() + ": shape " + io::to_string(k.shape) +
                                  ", expected a kernel (height, width), or one per item (items, height, width)");
            const bool one = k.shape.size() == 2;
            const index_t height = k.shape[one ? 0 : 1], width = k.shape[one ? 1 : 2], n = one ? 1 : k.shape[0];
            const auto kernel = numbers(k.data, height * width, n);
            parts.push_back(one ? convolution::shared(b, s.from, kernel.cview(), height, width, s.border)
                                : convolution::per_item(b, s.from, kernel.cview(), height, width, s.border));
        } else if (s.type == "mask") {
            const auto m = read(s.file);
            const index_t n = s.from.size();
            if (m.size() == 0 || m.size() % n != 0)
                throw shape_error(s.file.string() + ": shape " + io::to_string(m.shape) + ", expected masks of " +
                                  std::to_string(n) + " values");
            auto values = numbers(m.data, n, m.size() / n);
            const bool one = m.size() == n;
            parts.push_back(one ? linop::mask<B>::shared(std::move(values))
                                : linop::mask<B>::per_item(std::move(values)));
        } else if (s.type == "downsample") {
            parts.push_back(linop::downsample(b, s.from, s.stride[0], s.stride[1], s.filter));
        } else if (s.type == "grey") {
            parts.push_back(linop::to_grey(b, s.from, s.numbers));
        } else if (s.type == "window") {
            parts.push_back(linop::window(b, s.from, s.top, s.left, s.to.height, s.to.width, s.border));
        } else if (s.type == "differences") {
            parts.push_back(linop::differences(b, s.from));
        } else if (s.type == "radon") {
            if (s.file.empty()) {
                parts.push_back(linop::radon(b, s.from, s.numbers, s.size));
                continue;
            }
            const auto degrees = read(s.file);
            if (degrees.shape.size() != 2 || degrees.shape[1] != s.to.height)
                throw shape_error(s.file.string() + ": shape " + io::to_string(degrees.shape) +
                                  ", expected angles (items, " + std::to_string(s.to.height) + ")");
            parts.push_back(
                linop::radon_per_item<B>(b, s.from, {degrees.data.begin(), degrees.data.end()}, s.to.height, s.size));
        } else {
            std::vector<any_operator<B>> below;
            for (const auto& chain : s.parts) below.push_back(make_image_operator(b, chain, read));
            parts.push_back(any_operator<B>::stack(std::move(below)));
        }
    }
    if (parts.size() == 1) return std::move(parts.front());
    return any_operator<B>::in_turn(std::move(parts));
}

}  // namespace support
