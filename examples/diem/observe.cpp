// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <complex>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>

#include "diem/commands.hpp"
#include "diem/measured.hpp"
#include "diem/outputs.hpp"
#include "support/curve.hpp"
#include "support/memory.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

/// Little work: one thread of the CPU.
using cpu = eigen_backend<float>;

namespace {

/// The items asked for, their values brought from `range` to [-2, 2], channels last.
io::array<float> load_truth(const observe_command& o, layout order) {
    auto all = channels_last(load_values(o.truth), order, o.truth.string());
    const index_t there = all.items(), count = o.count.value_or(there - std::min(o.first, there));
    if (o.first < 0 || o.first >= there || count < 1 || count > there - o.first)
        throw value_error("--first " + std::to_string(o.first) +
                          (o.count ? " --count " + std::to_string(count) : std::string()) + ": " + o.truth.string() +
                          " has " + std::to_string(there) + " items");
    auto shape = all.shape;
    shape[0] = count;
    const auto each = static_cast<std::ptrdiff_t>(all.features());
    io::array<float> part(
        shape, std::vector<float>(all.data.begin() + o.first * each, all.data.begin() + (o.first + count) * each));
    if (o.range.empty()) return part;
    const double low = o.range[0], high = o.range[1];
    if (!(low < high) || !std::isfinite(high - low))
        throw value_error("--range: expected two numbers, the first below the second");
    for (float& v : part.data) {
        v = static_cast<float>((static_cast<double>(v) - low) / (high - low) * 4 - 2);
        if (!std::isfinite(v))
            throw value_error("--range " + io::json(low).dump() + " " + io::json(high).dump() + ": values of " +
                              o.truth.string() + " lie too far outside");
    }
    return part;
}

/// An operator with what has to be written beside it: the description that names its files, and a file drawn here.
struct written_operator {
    support::any_operator<cpu> a;
    io::json description;
    std::string name{};  ///< of the file; empty: none
    io::array<float> values{};
    io::shape_type kspace{};  ///< of y, complex numbers; empty: y is real
};

/// K-space of images: (items, height, width), or complex with a last axis of 2.
written_operator make_mri_operator(cpu& b, const observe_command& o, const operator_description& d,
                                   const io::array<float>& truth, io::json description) {
    const auto& x = *d.mri;
    auto shape = truth.shape;
    const index_t last = x.complex ? 2 : 1;
    const bool fits = shape.size() == 4 ? shape.back() == last : shape.size() == 3 && !x.complex;
    if (shape.size() == 4) shape.pop_back();
    if (!fits)
        throw shape_error(
            o.truth.string() + ": shape " + io::to_string(truth.shape) +
            (x.complex ? ", expected complex (items, height, width)" : ", expected (items, height, width)") +
            " for the operator mri of " + d.where);
    const index_t items = shape[0], height = shape[1], width = shape[2];
    io::kspace_mask masks;
    written_operator out{linop::mask<cpu>::shared(batch<cpu>(b, 1, 1)), std::move(description)};
    if (x.drawn) {
        const auto drawn =
            mri::make_mask(b, {.seed = o.seed, .lane = random_lane::user}, height, width, *x.drawn, items);
        const auto values = to_host(b, drawn);
        const index_t rows = x.drawn->full_size ? height : 1;
        masks = io::kspace_mask({items, rows, width});
        for (std::size_t k = 0; k < values.size(); ++k) masks.data[k] = values[k] != 0;
        out.name = "masks.npy";
        out.values = io::array<float>({items, rows, width}, values);
        out.description["mask"] = out.name;
    }
    const auto made = mri_for_images(x, items, height, width, masks);
    out.a = make_mri(b, made);
    out.kspace = {items, height, width};
    if (made.parts.front().coils > 0) out.kspace.insert(out.kspace.begin() + 1, made.parts.front().coils);
    for (const char* key : {"mask", "coils"}) {
        if (!out.description.contains(key) || (x.drawn && key == std::string("mask"))) continue;
        auto& names = out.description[key];
        if (names.is_string()) names = io::json::array({names});
        for (auto& name : names)
            name = std::filesystem::absolute(o.description.parent_path() / name.get<std::string>()).string();
    }
    return out;
}

written_operator make_operator(cpu& b, const observe_command& o, const operator_description& d,
                               const io::array<float>& truth) {
    io::json description = io::load_config(o.description).value;
    if (description.is_object()) description.erase("layout");  // what is written has its channels last
    if (d.mri) return make_mri_operator(b, o, d, truth, std::move(description));
    const index_t items = truth.items(), features = truth.features();
    if (d.nan_is_hidden)
        throw config_error(d.where + ": \"mask\": a truth has no NaN to hide by; give \"values\" or \"keep\"");
    if (d.keep > 0) {
        const bool is_last = truth.shape.size() < 3 || d.channels == 1 || truth.shape.back() == d.channels;
        if (features % d.channels != 0 || !is_last)
            throw config_error(d.where + ": \"channels\": is " + std::to_string(d.channels) + ", and items of " +
                               o.truth.string() + " are " + io::to_string(truth.shape) +
                               " (items first): expected the last axis, or a divisor of one that is alone; for (items, "
                               "channels, height, width) give the operator \"layout\": \"channels_first\"");
        batch<cpu> masks(b, features, items);
        linop::draw_mask(b, {.seed = o.seed, .lane = random_lane::user}, d.keep, d.channels, masks.view());
        io::array<float> values({items, features / d.channels});
        const auto all = to_host(b, masks);
        for (index_t k = 0; k < values.size(); ++k) values[k] = all[static_cast<std::size_t>(k * d.channels)];
        description.erase("keep");
        description["values"] = "masks.npy";
        return {linop::mask<cpu>::per_item(std::move(masks)), description, "masks.npy", std::move(values)};
    }
    if (d.rows > 0) {
        // As float64 of random_projections, as a file and in a batch.
        support::check_memory(d.where + ": \"rows\": " + std::to_string(d.rows) + " directions of each item",
                              16.0 * static_cast<double>(d.rows) * static_cast<double>(truth.size()),
                              "fewer rows, or a smaller --count, need less");
        const auto columns = support::random_projections(d.rows, features, items, o.seed);
        io::array<float> values({items, d.rows, features});  // row-major
        for (index_t i = 0; i < items; ++i)
            for (index_t r = 0; r < d.rows; ++r)
                for (index_t c = 0; c < features; ++c)
                    values[(i * d.rows + r) * features + c] =
                        static_cast<float>(columns[static_cast<std::size_t>((i * features + c) * d.rows + r)]);
        description.erase("rows");
        description["matrix"] = "matrices.npy";
        auto matrices = support::batch_of(b, columns, d.rows * features);
        return {linop::dense<cpu>::per_item(std::move(matrices), d.rows, features), description, "matrices.npy",
                std::move(values)};
    }
    if (!d.file.empty())
        description[d.type == "mask" ? "values" : "matrix"] = std::filesystem::absolute(d.file).string();
    // The shape that y will have.
    io::shape_type shape = truth.shape;
    if (d.type == "averaging") shape = {items, features / (d.block * d.block)};
    if (!d.steps.empty()) {
        if (const auto taken = d.steps.front().from.size(); taken != features)  // before it takes memory
            throw shape_error(o.description.string() + ": the operator takes " + std::to_string(taken) +
                              " values, items of " + o.truth.string() + " have " + std::to_string(features));
        shape = {items, d.steps.back().to.size()};
        support::make_files_absolute(description, o.description.parent_path());
    }
    if (d.type == "dense") {
        const auto matrices = io::load_npy_header(d.file).shape;
        shape = {items, matrices.size() >= 2 ? matrices[matrices.size() - 2] : features};
    }
    host_items y{io::array<float>(shape)};
    return {load_operator(b, d, o.truth.string(), y).a, description};
}

}  // namespace

int observe(const observe_command& o) {
    cpu b(1);
    auto d = load_description(o.description);
    if (!o.layout.empty()) d.order = layout_of(o.layout, "--layout");
    const auto sigma = sigma_source::of(o.sigma_y);
    outputs files("--out", o.out);
    files.reads("the truth", o.truth)
        .reads("--operator", o.description)
        .reads("--sigma-y", sigma.file)
        .reads(d.where, d.files())
        .writes({"truth.npy", "y.npy", "operator.json"});
    if (d.drawn()) files.writes({d.rows > 0 ? "matrices.npy" : "masks.npy"});
    files.check();
    const auto truth = load_truth(o, d.order);
    const auto made = make_operator(b, o, d, truth);
    const index_t items = truth.items(), features = truth.features(), rows = made.a.rows();
    if (made.a.cols() != features)
        throw shape_error(o.description.string() + ": the operator takes " + std::to_string(made.a.cols()) +
                          " values, items of " + o.truth.string() + " have " + std::to_string(features));
    const auto noise = load_noise(b, sigma, rows);
    files.prepare();
    batch<cpu> y(b, rows, items);
    posterior::simulate(b, made.a, noise, to_backend(b, truth.data, features, items).cview(),
                        {.seed = o.seed, .lane = random_lane::observation}, y.view());
    const auto values = to_host(b, y);
    for (const float v : values)
        if (!std::isfinite(v))
            throw value_error(o.description.string() + ": y = A x + e is not finite: numbers are too large");

    if (!made.name.empty()) io::save_npy(o.out / made.name, made.values);
    io::save_npy(o.out / "truth.npy", truth);
    io::shape_type shape = made.a.as_mask() != nullptr ? truth.shape : io::shape_type{items, rows};
    if (made.kspace.empty()) {
        io::save_npy(o.out / "y.npy", shape, std::span<const float>(values));
    } else {
        shape = made.kspace;
        const auto numbers = complex_numbers(values, true);
        io::save_npy(o.out / "y.npy", shape, std::span<const std::complex<float>>(numbers));
    }
    io::save_json(o.out / "operator.json", made.description);
    std::cout << "y.npy, operator.json and truth.npy of " << items << " items are in " << o.out.string() << '\n';
    support::tell({{"program", "diem observe"},
                   {"out", o.out.string()},
                   {"items", items},
                   {"y", shape},
                   {"truth", truth.shape},
                   {"seed", o.seed}});
    return 0;
}

}  // namespace program
