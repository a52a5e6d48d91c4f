// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>

#include "diem/commands.hpp"
#include "diem/measured.hpp"
#include "support/curve.hpp"

namespace program {

using namespace diem;

/// Little work: one thread of the CPU.
using cpu = eigen_backend<float>;

namespace {

/// The items asked for, their values brought from `range` to [-2, 2].
io::array<float> load_truth(const observe_command& o) {
    auto all = load_items(o.truth);
    const index_t count = o.count.value_or(all.items() - o.first);
    if (o.first < 0 || count < 1 || o.first + count > all.items())
        throw value_error("--first " + std::to_string(o.first) + " --count " + std::to_string(count) + ": " +
                          o.truth.string() + " has " + std::to_string(all.items()) + " items");
    auto shape = all.shape;
    shape[0] = count;
    const auto each = static_cast<std::ptrdiff_t>(all.features());
    io::array<float> part(
        shape, std::vector<float>(all.data.begin() + o.first * each, all.data.begin() + (o.first + count) * each));
    if (o.range.empty()) return part;
    const double low = o.range[0], high = o.range[1];
    if (!(low < high)) throw value_error("--range: the first number must be below the second");
    for (float& v : part.data) v = static_cast<float>((static_cast<double>(v) - low) / (high - low) * 4 - 2);
    return part;
}

/// An operator with what has to be written beside it: the description that names its files, and a file drawn here.
struct written_operator {
    support::any_operator<cpu> a;
    io::json description;
    std::string name{};  ///< of the file; empty: none
    io::array<float> values{};
};

written_operator make_operator(cpu& b, const observe_command& o, const io::array<float>& truth) {
    const auto d = load_description(o.description);
    io::json description = io::load_config(o.description).value;
    const index_t items = truth.items(), features = truth.features();
    if (d.keep > 0) {
        if (features % d.channels != 0)
            throw config_error(d.where + ": \"channels\": is " + std::to_string(d.channels) +
                               ", which does not divide the " + std::to_string(features) + " values of an item of " +
                               o.truth.string());
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
    index_t rows = features;
    if (d.type == "averaging") rows /= d.block * d.block;
    if (!d.steps.empty()) {
        rows = d.steps.back().to.size();
        support::make_files_absolute(description, o.description.parent_path());
    }
    if (d.type == "dense") {
        const auto shape = io::load_npy_header(d.file).shape;
        if (shape.size() >= 2) rows = shape[shape.size() - 2];
    }
    return {load_operator(b, d, items, rows, o.truth.string()), description};
}

}  // namespace

int observe(const observe_command& o) {
    cpu b(1);
    const auto truth = load_truth(o);
    const auto made = make_operator(b, o, truth);
    const index_t items = truth.items(), features = truth.features(), rows = made.a.rows();
    if (made.a.cols() != features)
        throw shape_error(o.description.string() + ": the operator takes " + std::to_string(made.a.cols()) +
                          " values, items of " + o.truth.string() + " have " + std::to_string(features));
    batch<cpu> y(b, rows, items);
    posterior::simulate(b, made.a, load_noise(b, sigma_source::of(o.sigma_y), rows),
                        to_backend(b, truth.data, features, items).cview(),
                        {.seed = o.seed, .lane = random_lane::observation}, y.view());
    const auto values = to_host(b, y);

    make_folder(o.out);
    if (!made.name.empty()) io::save_npy(o.out / made.name, made.values);
    io::save_npy(o.out / "truth.npy", truth);
    io::save_npy(o.out / "y.npy", made.a.as_mask() != nullptr ? truth.shape : io::shape_type{items, rows},
                 std::span<const float>(values));
    io::save_json(o.out / "operator.json", made.description);
    std::cout << "y.npy, operator.json and truth.npy of " << items << " items are in " << o.out.string() << '\n';
    return 0;
}

}  // namespace program
