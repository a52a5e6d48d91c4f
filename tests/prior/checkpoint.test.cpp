// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <diem/prior/checkpoint.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "train/toy_model.hpp"

using namespace diem;
namespace fs = std::filesystem;

namespace {

const train::training_options options{.steps = 40,
                                      .batch = 12,
                                      .loss = {.sigma_min = 0.1, .sigma_max = 10, .micro_batch = 5, .dropout = 0.5},
                                      .rate = {.schedule = train::rate_schedule::exponential, .initial = 1e-2},
                                      .adam = {.ema_decay = 0.9}};

nn::parameter_table toy_table(const char* second = "bias") {
    nn::parameter_table table;
    table.add("weight", {4, 4}, 1);
    table.add(second, {4}, 0);
    return table;
}

struct folder {
    folder() : path(fs::temp_directory_path() / ("diem-checkpoint-" + std::to_string(std::uintptr_t(this)))) {
        fs::create_directories(path);
    }
    ~folder() { fs::remove_all(path); }
    fs::path path;
};

std::string bytes_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Trains to the end; at each of `stops` the training is saved, and a new process is played by a model and a state that
/// begin from nothing but the file.
template <class B>
std::vector<double> trace(const std::vector<index_t>& stops, std::vector<scalar_t<B>>& weights,
                          std::vector<scalar_t<B>>& average) {
    const folder f;
    const auto file = f.path / "training.safetensors";
    const auto table = toy_table();
    std::vector<double> losses;
    for (std::size_t part = 0; part <= stops.size(); ++part) {
        B b;
        test::toy_model<B> model(b, 4, part == 0 ? 11 : 999 + part);
        batch<B> data(b, 4, 31);
        b.fill_normal({.seed = 21}, data.view());
        auto state = part == 0 ? train::start_training(b, model, options, 77)
                               : prior::load_training(file, b, model, table, options);
        const index_t stop = part < stops.size() ? stops[part] : options.steps;
        train::fit_denoiser<B>(b, model, data.view(), options, state, [&](const train::training_progress& p) {
            losses.push_back(p.loss);
            losses.push_back(p.recent_loss);
            return p.step < stop;
        });
        prior::save_training(file, b, model, table, state);
        weights = to_host(b, model.parameters());
        average = to_host(b, state.adam.average());
    }
    return losses;
}

}  // namespace

TEMPLATE_TEST_CASE("a training resumed from its file equals one that never stopped, to the bit", "",
                   DIEM_TEST_BACKENDS) {
    std::vector<scalar_t<TestType>> weights, average, other_weights, other_average;
    const auto whole = trace<TestType>({}, weights, average);
    for (std::uint32_t k = 0; k < 4; ++k) {  // random steps
        const auto stop = 1 + static_cast<index_t>(uniform<double>({.seed = 5}, k, 0) * 38);
        CHECK(trace<TestType>({stop}, other_weights, other_average) == whole);
        CHECK(other_weights == weights);
        CHECK(other_average == average);
    }
    CHECK(trace<TestType>({3, 4, 30}, other_weights, other_average) == whole);
}

TEST_CASE("wrong files are refused and nothing changes") {
    using B = eigen_backend<float>;
    B b(1);
    const folder f;
    const auto file = f.path / "training.safetensors", bad = f.path / "bad.safetensors";
    const auto table = toy_table();
    test::toy_model<B> model(b, 4, 11);
    auto state = train::start_training(b, model, options, 77);
    prior::save_training(file, b, model, table, state, {{"kind", "toy"}});
    const std::string good = bytes_of(file);

    test::toy_model<B> other(b, 4, 12);
    const auto before = to_host(b, other.parameters());
    const auto refused = [&](const fs::path& path, const nn::parameter_table& names) {
        CHECK_THROWS_AS(prior::load_training(path, b, other, names, options), io_error);
        CHECK(to_host(b, other.parameters()) == before);
    };
    SECTION("no such file") { refused(f.path / "none.safetensors", table); }
    SECTION("truncated, anywhere") {
        for (const std::size_t length :
             {std::size_t{0}, std::size_t{7}, std::size_t{100}, good.size() / 2, good.size() - 1}) {
            std::ofstream(bad, std::ios::binary) << good.substr(0, length);
            refused(bad, table);
        }
    }
    SECTION("bytes after the end") {
        std::ofstream(bad, std::ios::binary) << good << '\0';
        refused(bad, table);
    }
    SECTION("another name") { refused(file, toy_table("offset")); }
    SECTION("another shape of the same size") {
        nn::parameter_table names;
        names.add("weight", {2, 8}, 1);
        names.add("bias", {4}, 0);
        refused(file, names);
    }
    SECTION("tensors nobody asked for") {
        nn::parameter_table names;
        names.add("weight", {4, 4}, 1);
        CHECK_THROWS_AS(prior::load_training(file, b, other, names, options), io_error);
    }
    SECTION("another element type") {
        eigen_backend<double> wide(1);
        test::toy_model<eigen_backend<double>> twin(wide, 4, 12);
        CHECK_THROWS_AS(prior::load_training(file, wide, twin, table, options), io_error);
    }
    SECTION("another kind of file") {
        prior::checkpoint_writer<B> out(io::json::object(), {{"kind", "prior"}});
        out.write(bad);
        refused(bad, table);
        io::safetensors_writer foreign;
        foreign.metadata("format", "pt");
        foreign.write(bad);
        refused(bad, table);
    }
    SECTION("counters that make no sense") {
        for (const auto& counters :
             {io::json{{"step", -1}, {"seed", 1}, {"recent_loss", nullptr}}, io::json{{"step", 1}}, io::json(3),
              io::json{{"step", "x"}, {"seed", 1}, {"recent_loss", 1}}}) {
            prior::checkpoint_writer<B> out(io::json::object(), {{"kind", "training"}, {"training", counters}});
            prior::put_training<B>(b, out, table, std::as_const(model).parameters(), state);
            out.write(bad);
            refused(bad, table);
        }
    }
    SECTION("a failed write leaves the old file") {
        CHECK_THROWS_AS(prior::save_training(f.path / "missing" / "x.safetensors", b, model, table, state), io_error);
        CHECK(bytes_of(file) == good);
    }
    SECTION("the good file is good") {
        const auto loaded = prior::load_training(file, b, other, table, options);
        CHECK(to_host(b, other.parameters()) == to_host(b, model.parameters()));
        CHECK(loaded.seed == 77);
        CHECK(prior::checkpoint_reader<B>(file).config() == io::json{{"kind", "toy"}});
    }
}
