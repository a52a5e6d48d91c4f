// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/backend/reference.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/prior/files.hpp>

#include "support/catch.hpp"
#include "support/opaque_backend.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
namespace fs = std::filesystem;

namespace {

template <class B>
diffusion::gaussian<B> some_gaussian(B& b, index_t features, index_t rank) {
    batch<B> mu(b, features, 1), d(b, features, 1), u(b, features, rank);
    b.fill_normal({.seed = 1}, mu.view());
    b.fill_uniform({.seed = 2}, d.view());
    b.fill_normal({.seed = 3}, u.view());
    return {b, std::move(mu), std::move(d), std::move(u)};
}

}  // namespace

TEMPLATE_TEST_CASE("a Gaussian prior comes back from its file to the bit", "", reference_backend<float>,
                   eigen_backend<float>, eigen_backend<double>, test::opaque_backend<float>) {
    TestType b;
    const test::temporary_folder folder;
    for (const index_t rank : {index_t{0}, index_t{3}}) {
        const auto g = some_gaussian(b, 5, rank);
        const auto path = folder / "g.safetensors";
        prior::learned<TestType> prior(b, g);
        prior.notes = {{"laps", 7}};
        prior.drawing.sampling.steps = 17;
        prior::save(path, b, prior);
        const auto loaded = prior::load(path, b);
        CHECK_FALSE(loaded.has_network());
        CHECK(to_host(b, loaded.estimate()->mu()) == to_host(b, g.mu()));
        CHECK(to_host(b, loaded.estimate()->d()) == to_host(b, g.d()));
        CHECK(to_host(b, loaded.estimate()->u()) == to_host(b, g.u()));
        CHECK(to_host(b, loaded.mean()) == to_host(b, g.mu()));
        CHECK(loaded.estimate()->rank() == rank);
        CHECK(loaded.drawing.sampling.steps == 17);
        CHECK(loaded.drawing.mmps.max_iterations == prior.drawing.mmps.max_iterations);
        CHECK(loaded.notes == io::json{{"laps", 7}});
    }
}

TEST_CASE("a file that holds no Gaussian prior is refused") {
    using B = eigen_backend<float>;
    B b(1);
    const test::temporary_folder folder;
    const auto good = folder / "good.safetensors", bad = folder / "bad.safetensors";
    const auto g = some_gaussian(b, 5, 2);
    prior::save(good, b, prior::learned<B>(b, g));
    std::ifstream in(good, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};

    SECTION("no such file") { CHECK_THROWS_AS(prior::load(folder / "none", b), io_error); }
    SECTION("truncated") {
        for (const std::size_t length : {std::size_t{0}, std::size_t{9}, bytes.size() / 2, bytes.size() - 1}) {
            std::ofstream(bad, std::ios::binary) << bytes.substr(0, length);
            CHECK_THROWS_AS(prior::load(bad, b), io_error);
        }
    }
    SECTION("another element type") {
        eigen_backend<double> wide(1);
        CHECK_THROWS_AS(prior::load(good, wide), io_error);
    }
    SECTION("a state that does not fit the tensors") {
        for (const auto& state : {io::json{{"kind", "diffusion_prior"}, {"features", 5}, {"rank", 2}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 0}, {"rank", 2}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 5}, {"rank", -1}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 5}, {"rank", "two"}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 5}, {"rank", 1}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 1LL << 40}, {"rank", 2}},
                                  io::json{{"kind", "gaussian_prior"}, {"features", 5}}}) {
            prior::checkpoint_writer<B> out(io::json::object(), state);
            prior::detail::put_gaussian(b, out, g, "estimate/");
            out.write(bad);
            CHECK_THROWS_AS(prior::load(bad, b), io_error);
        }
    }
    SECTION("numbers that no Gaussian has") {
        for (const float value : {-1.0F, std::numeric_limits<float>::quiet_NaN()}) {
            prior::checkpoint_writer<B> out(
                io::json::object(),
                {{"kind", "gaussian_prior"}, {"features", 5}, {"rank", 2}, {"notes", io::json::object()}});
            batch<B> d(b, 5, 1);
            b.fill(d.view(), value);
            out.batch_as(b, "estimate/mu", as_batch(g.mu()));
            out.batch_as(b, "estimate/d", d.cview());
            out.batch_as(b, "estimate/u", g.u());
            out.write(bad);
            CHECK_THROWS_AS(prior::load(bad, b), io_error);
        }
    }
    SECTION("the good one is good") { CHECK_NOTHROW(prior::load(good, b)); }
}

TEST_CASE("files of versions before are read: their keys, four solver shares, a state of notes") {
    using B = eigen_backend<float>;
    B b(1);
    const test::temporary_folder folder;
    const auto file = folder / "old.safetensors";
    const auto g = some_gaussian(b, 5, 2);
    model::preconditioned<B, nn::mlp<B>> net(b, nn::mlp<B>({5, {8}, 4, true}));
    net.initialize(b, {.seed = 4});
    const io::json network = model::to_json(net.net().config());
    const io::json config{{"program", "diem"},
                          {"network", network},
                          {"image", {1, 5, 1}},
                          {"seed", 3},
                          {"switch_factor", 2.5},
                          {"sampler",
                           {{"name", "dpm_solver_2m_sde"},
                            {"steps", 33},
                            {"batch", 7},
                            {"samples_per_observation", 1},
                            {"sigma_min", 0.005},
                            {"sigma_max", 20.0}}},
                          {"posterior",
                           {{"covariance", "blended"},
                            {"solver", "fom"},
                            {"max_iterations", 1},
                            {"relative_tolerance", 0.0},
                            {"check_every", 1},
                            {"switch_sigma", 3.0},
                            {"precondition", false}}}};
    const io::json good{{"lap", 0},
                        {"samples", 10},
                        {"data_residual", 0.9},
                        {"outside_share", 0.0},
                        {"non_finite_share", 0.0},
                        {"solver_shares", {0.0, 0.75, 0.25, 0.0}},
                        {"change", nullptr},
                        {"loss", 0.8},
                        {"e_seconds", 1.0},
                        {"m_seconds", 2.0}};
    io::json lap = good;
    const auto write = [&](const io::json& c) {
        const io::json state{{"kind", "diffusion_prior"}, {"laps", 1},        {"features", 5},
                             {"estimate_rank", 2},        {"moments", false}, {"history", {lap}},
                             {"skip_rank", nullptr}};
        prior::checkpoint_writer<B> out(c, state);
        out.flat(b, "last/", net.table(), net.parameters());
        out.flat(b, "average/", net.table(), net.parameters());
        out.batch_as(b, "mean", as_batch(g.mu()));
        prior::detail::put_gaussian(b, out, g, "estimate/");
        out.write(file);
    };
    write(config);
    const auto p = prior::load(file, b);
    CHECK(p.laps() == 1);
    CHECK(p.history[0].solver_shares[1] == 0.75);
    CHECK(std::isnan(p.history[0].variance));
    CHECK(p.drawing.sampling.steps == 33);
    CHECK(p.drawing.switch_factor == 2.5);
    CHECK_FALSE(p.drawing.mmps.converge_gaussian);
    CHECK(p.drawing.start_at == prior::sampling_start::noise);
    CHECK(p.notes.at("image") == io::json{1, 5, 1});
    CHECK(to_host(b, p.network().parameters()) == to_host(b, net.parameters()));
    for (const auto& [key, value] : std::vector<std::pair<std::string, io::json>>{
             {"lap", -3}, {"samples", 1e300}, {"samples", -1}, {"removed", "x"}, {"removed", 0.5}}) {
        lap = good;
        lap[key] = value;
        write(config);
        CHECK_THROWS_WITH(prior::load(file, b),
                          Catch::Contains(file.string() + ": state \"history\": \"" + key + "\" is " + value.dump()));
    }
    lap = good;
    write(network);  // as the examples did: the network alone
    CHECK(prior::load(file, b).drawing.sampling.sampler == diffusion::sampler_choice::dpm_2m_sde);
    {  // a Gaussian, whose notes stood in the state
        prior::checkpoint_writer<B> out(
            io::json::object(), {{"kind", "gaussian_prior"}, {"features", 5}, {"rank", 2}, {"notes", {{"laps", 16}}}});
        prior::detail::put_gaussian(b, out, g, "estimate/");
        out.write(file);
    }
    CHECK(prior::load(file, b).notes.at("laps") == 16);
}
