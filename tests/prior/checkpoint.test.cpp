// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <diem/prior/checkpoint.hpp>
#include <diem/prior/same_run.hpp>
#include <diem/prior/training_file.hpp>

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

std::size_t length_of(const std::string& safetensors) {
    std::uint64_t length = 0;
    std::memcpy(&length, safetensors.data(), 8);
    return static_cast<std::size_t>(length);
}

/// Trains to the end; at each of `stops` the training is saved, and a new process is played by a model and a state that
/// begin from nothing but the file.
template <class B>
std::vector<double> trace(const std::vector<index_t>& stops, std::vector<scalar_t<B>>& weights,
                          std::vector<scalar_t<B>>& average,
                          train::moment_precision moments = train::moment_precision::float32) {
    auto how = options;
    how.adam.moments = moments;
    const folder f;
    const auto file = f.path / "training.safetensors";
    const auto table = toy_table();
    std::vector<double> losses;
    for (std::size_t part = 0; part <= stops.size(); ++part) {
        B b;
        test::toy_model<B> model(b, 4, part == 0 ? 11 : 999 + part);
        batch<B> data(b, 4, 31);
        b.fill_normal({.seed = 21}, data.view());
        auto state =
            part == 0 ? train::start_training(b, model, how, 77) : prior::load_training(file, b, model, table, how);
        const index_t stop = part < stops.size() ? stops[part] : how.steps;
        train::fit_denoiser<B>(b, model, data.view(), how, state, [&](const train::training_progress& p) {
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

    constexpr auto bf16 = train::moment_precision::bf16;
    const auto rounded = trace<TestType>({}, weights, average, bf16);
    CHECK(rounded != whole);
    CHECK(trace<TestType>({3, 4, 30}, other_weights, other_average, bf16) == rounded);
    CHECK(other_weights == weights);
    CHECK(other_average == average);
}

TEST_CASE("moments in bf16 are stored as such, and not read where others are expected") {
    using B = eigen_backend<float>;
    B b(1);
    const folder f;
    const auto file = f.path / "training.safetensors";
    const auto table = toy_table();
    test::toy_model<B> model(b, 4, 11);
    auto o = options;
    o.adam.moments = train::moment_precision::bf16;
    auto state = train::start_training(b, model, o, 77);
    prior::save_training(file, b, model, table, state);
    const io::safetensors_file stored(file);
    CHECK(stored.at("adam_v/weight").type == io::dtype::bf16);
    CHECK(stored.at("ema/weight").type == io::dtype::f32);
    CHECK_NOTHROW(prior::load_training(file, b, model, table, o));
    CHECK_THROWS_WITH(prior::load_training(file, b, model, table, options),
                      Catch::Contains("moments are bf16, the option `moments` is float32"));
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
    SECTION("every bit of the tensors that flips is found, and the tensor named") {
        io::safetensors_file layout(file);
        std::uint64_t begin = good.size();
        for (const auto& [name, tensor] : layout.tensors()) begin = std::min(begin, tensor.offset);
        CHECK(prior::checkpoint_reader<B>(file).note().empty());
        for (std::uint32_t k = 0; k < 150; ++k) {
            const auto at = begin + static_cast<std::uint64_t>(uniform<double>({.seed = 9}, k, 0) *
                                                               static_cast<double>(good.size() - begin));
            std::string flipped = good;
            flipped[at] = static_cast<char>(flipped[at] ^ (1 << (k % 8)));
            std::ofstream(bad, std::ios::binary) << flipped;
            std::string damaged;
            for (const auto& [name, tensor] : layout.tensors())
                if (at >= tensor.offset && at < tensor.offset + tensor.bytes) damaged = name;
            CHECK_THROWS_WITH(prior::load_training(bad, b, other, table, options),
                              Catch::Contains(bad.string()) && Catch::Contains("\"" + damaged + "\" is damaged"));
        }
        refused(bad, table);
    }
    SECTION("a counter that another hand has changed is found") {
        std::string changed = good;
        const auto at = changed.find(R"(\"step\":)");
        REQUIRE(at != std::string::npos);
        char& digit = changed[at + 9];
        digit = digit == '1' ? '2' : '1';
        std::ofstream(bad, std::ios::binary) << changed;
        CHECK_THROWS_WITH(prior::load_training(bad, b, other, table, options),
                          Catch::Contains("metadata \"state\" is damaged"));
    }
    SECTION("a file without hashes is read, with a note") {
        std::string old = good;
        const auto at = old.find("diem.xxh64");
        REQUIRE(at != std::string::npos);
        std::ofstream(bad, std::ios::binary) << old.replace(at, 10, "other_name");
        CHECK_NOTHROW(prior::load_training(bad, b, other, table, options));
        CHECK_THAT(prior::checkpoint_reader<B>(bad).note(), Catch::Contains("no hashes"));
    }
    SECTION("a tensor that another tool added does no harm, one that is missing does") {
        auto header = io::parse_json(good.substr(8, length_of(good)), "header");
        const std::string data = good.substr(8 + length_of(good));
        const auto write = [&](const io::json& h, const std::string& bytes) {
            const std::string text = h.dump();
            const std::uint64_t length = text.size();
            std::ofstream(bad, std::ios::binary)
                << std::string(reinterpret_cast<const char*>(&length), 8) << text << bytes;
        };
        auto more = header;
        more["extra"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {data.size(), data.size() + 4}}};
        write(more, data + std::string(4, '\1'));
        CHECK_NOTHROW(prior::load_training(bad, b, other, table, options));
        auto renamed = header;
        renamed["param/offset"] = renamed["param/bias"];
        renamed.erase("param/bias");
        write(renamed, data);
        CHECK_THROWS_WITH(prior::load_training(bad, b, other, table, options),
                          Catch::Contains("\"param/bias\" is missing"));
    }
    SECTION("numbers that are not finite") {
        for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
            std::vector<float> weights = to_host(b, std::as_const(model).parameters());
            weights[5] = value;
            prior::upload_flat(b, weights, vector_t<B>(model.mutable_parameters()));
            prior::checkpoint_writer<B> out(io::json::object(),
                                            {{"kind", "training"}, {"training", prior::training_counters(state)}});
            prior::put_training<B>(b, out, table, std::as_const(model).parameters(), state);
            out.write(bad);
            CHECK_THROWS_WITH(prior::load_training(bad, b, other, table, options),
                              Catch::Contains("\"param/weight\": element 5 is not finite"));
        }
    }
    SECTION("counts of the state") {
        for (const io::json& value : {io::json(-3), io::json(2.5), io::json("7"), io::json(nullptr), io::json(1e30)}) {
            prior::checkpoint_writer<B>(io::json::object(), {{"laps", value}}).write(bad);
            CHECK_THROWS_WITH(prior::checkpoint_reader<B>(bad).state<index_t>("laps"), Catch::Contains("\"laps\""));
        }
        prior::checkpoint_writer<B>(io::json::object(), {{"laps", 3}}).write(bad);
        CHECK(prior::checkpoint_reader<B>(bad).state<index_t>("laps") == 3);
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

TEST_CASE("a run that was begun before there was an option goes on without") {
    const io::json stored{{"posterior", {{"solver", "fom"}}}, {"initial_posterior", nullptr}};
    const auto now = [](bool converge) {
        return io::json{{"posterior", {{"solver", "fom"}, {"converge_gaussian", converge}}},
                        {"initial_posterior", nullptr}};
    };
    CHECK_NOTHROW(prior::detail::check_same_run("x", stored, now(false)));
    CHECK_THROWS_AS(prior::detail::check_same_run("x", stored, now(true)), config_error);
    CHECK_THROWS_AS(prior::detail::check_same_run("x", now(true), now(false)), config_error);
    // Nor did samples begin elsewhere than with noise.
    auto begins = now(false);
    begins["start_at"] = "noise";
    CHECK_NOTHROW(prior::detail::check_same_run("x", stored, begins));
    begins["start_at"] = "gaussian";
    CHECK_THROWS_AS(prior::detail::check_same_run("x", stored, begins), config_error);
    // Nor did laps take parts of the observations.
    auto parts = now(false);
    parts["observations_per_lap"] = 0;
    CHECK_NOTHROW(prior::detail::check_same_run("x", stored, parts));
    parts["observations_per_lap"] = 10;
    CHECK_THROWS_AS(prior::detail::check_same_run("x", stored, parts), config_error);
}
