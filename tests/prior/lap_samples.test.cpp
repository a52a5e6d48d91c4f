// SPDX-License-Identifier: Apache-2.0
// Files of a lap's samples: what is in them is not drawn again, on however many ranks, and what is not in them is.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ios>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/io/safetensors.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/identity.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/run_folder.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/masked_normal.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

using namespace diem;
namespace fs = std::filesystem;

namespace {

/// 50 observations of four values, two samples of each in batches of 8: 14 batches of a lap, none over sample 50.
constexpr index_t items = 50;
constexpr int batches = 14, saves = 4;

prior::em_options some_options() {
    prior::em_options o;
    o.laps = 2;
    o.refresh.rank = 2;
    o.initial_e_step = prior::gaussian_e_step::diffusion;
    o.sampling = {.steps = 4, .batch = 8, .samples_per_observation = 2, .sigma_min = 1e-2, .sigma_max = 10};
    o.training = {.steps = 4 * saves,
                  .batch = 22,
                  .parts = 5,
                  .report_every = 4,
                  .rate = {.initial = 3e-3},
                  .adam = {.ema_decay = 0.8}};
    o.outside = prior::out_of_range::remove;
    o.low = -2;
    o.high = 2;
    o.guard.max_outside_share = o.guard.max_removed_share = 1;
    o.seed = 6;
    return o;
}

/// What came of a run, for comparison to the bit.
struct result {
    prior::run_status status{};
    int drawn = 0;  ///< batches of the first lap that was gone on with
    std::vector<float> weights{};
    std::vector<double> figures{};
    std::string error{};
};

/// Where a run is cancelled: at its progress number `at`, on the last rank.
struct how {
    int ranks = 1;
    bool resume = false;
    int cancel_at = std::numeric_limits<int>::max();
    double save_every = 0;
    double variance = 1;                         ///< of the Gaussian that it starts with
    std::function<void(int)> also = [](int) {};  ///< told of each progress number
};

template <class B>
result run_on(const parallel::any_communicator& ranks, const fs::path& folder, const prior::em_options& o,
              const how& h) {
    B b;
    using network = nn::mlp<B>;
    const test::masked_normal<B> data(b, items);
    result out;
    std::atomic<bool> cancel = false;
    int told = 0;
    index_t lap = -1;
    prior::run<B, network> run;
    run.folder = folder;
    run.resume = h.resume;
    run.save_every = h.save_every;
    run.ranks = ranks;
    run.cancel = &cancel;
    run.on_progress = [&](const prior::progress& p) {
        if (lap < 0) lap = p.lap;
        out.drawn += p.stage == prior::progress::stage_type::sampling && p.lap == lap;
        h.also(++told);
        if (told == h.cancel_at && ranks.rank() == ranks.size() - 1) cancel = true;
    };
    try {
        const auto fitted =
            prior::fit_diffusion(b, prior::learned<B, network>(b, prior::isotropic_gaussian(b, 4, h.variance)),
                                 network({.features = 4, .hidden = {16}, .embedding = 8}), data.observed(b), o, run);
        out.status = fitted.status;
        if (fitted.prior.has_network())
            for (const auto v : to_host(b, fitted.prior.last_weights())) out.weights.push_back(static_cast<float>(v));
        for (const auto& d : fitted.prior.history) {
            out.figures.insert(out.figures.end(), {static_cast<double>(d.samples), static_cast<double>(d.removed),
                                                   d.data_residual, d.outside_share, d.variance, d.loss});
            out.figures.insert(out.figures.end(), d.solver_shares.begin(), d.solver_shares.end());
        }
    } catch (const std::exception& e) {
        out.error = e.what();
    }
    return out;
}

template <class B = test::main_backend<float>>
result run_in(const fs::path& folder, const prior::em_options& o, const how& h = {}) {
    if (h.ranks == 1) return run_on<B>(parallel::any_communicator(), folder, o, h);
    std::vector<result> all(static_cast<std::size_t>(h.ranks));
    test::on_thread_ranks(h.ranks, false, [&](const test::thread_ranks& c) {
        all[static_cast<std::size_t>(c.rank())] = run_on<B>(parallel::any_communicator(c), folder, o, h);
    });
    return all.front();
}

/// Names of the files of samples.
std::vector<std::string> samples_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& path : prior::run_files(folder))
        if (const auto name = path.filename().string(); name.starts_with("samples_")) names.push_back(name);
    return names;
}

bool leaves_nothing_half_written(const fs::path& folder) {
    return std::none_of(fs::directory_iterator(folder), fs::directory_iterator(), [](const fs::directory_entry& e) {
        return e.path().filename().string().find(".tmp-") != std::string::npos;
    });
}

void check_same(const result& a, const result& c) {
    CHECK(a.error == "");
    CHECK(a.status == prior::run_status::completed);
    CHECK(!a.weights.empty());
    CHECK(a.weights == c.weights);
    CHECK(a.figures == c.figures);
}

void damage(const fs::path& path, std::streamoff from_end) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-from_end, std::ios::end);
    const char c = static_cast<char>(file.get() ^ 1);
    file.seekp(-from_end, std::ios::end);
    file.put(c);
}

}  // namespace

TEMPLATE_TEST_CASE("batches that are in files are not drawn again, and those whose file is missing are", "",
                   test::main_backend<float>, test::opaque_backend<float>) {
    const auto o = some_options();
    const auto whole = run_in<TestType>({}, o);
    check_same(whole, whole);
    CHECK(whole.drawn == batches);
    CHECK(whole.figures[1] > 0);  // samples that are removed
    const test::temporary_folder f;
    CHECK(run_in<TestType>(f / "run", o, {.cancel_at = 9}).status == prior::run_status::cancelled);
    CHECK(samples_in(f / "run").size() == 9);
    fs::remove(f / "run/samples_0_24.safetensors");
    fs::remove(f / "run/samples_0_48.safetensors");  // the two samples that end the first round over the observations
    std::ofstream(f / "run/samples_0_24.safetensors.tmp-999999999-0") << "of a writer that was killed";
    const auto resumed = run_in<TestType>(f / "run", o, {.resume = true});
    check_same(resumed, whole);
    CHECK(resumed.drawn == batches - 7);
    CHECK(samples_in(f / "run").empty());  // the laps are done
    CHECK(leaves_nothing_half_written(f / "run"));
}

TEST_CASE("files of samples are those that were drawn since the last, and none where a lap is shorter") {
    const auto o = some_options();
    const auto whole = run_in({}, o);
    const test::temporary_folder f;
    SECTION("cancelled: all that was drawn is one file") {
        CHECK(run_in(f / "run", o, {.cancel_at = 9, .save_every = 1e9}).status == prior::run_status::cancelled);
        CHECK(samples_in(f / "run") == std::vector<std::string>{"samples_0_0.safetensors"});
        const io::safetensors_file file(f / "run/samples_0_0.safetensors");
        REQUIRE(file.tensors().size() == 1);
        CHECK(file.at("samples/0").shape == io::shape_type{66, 4});  // six batches of 8, one of 2, two of 8
        const auto resumed = run_in(f / "run", o, {.resume = true});
        check_same(resumed, whole);
        CHECK(resumed.drawn == batches - 9);
    }
    SECTION("in training: the state holds no samples") {
        for (const double save_every : {0.0, 1e9})
            for (const bool bounded : {false, true}) {
                CAPTURE(save_every, bounded);
                auto other = o;
                if (!bounded) other.outside = prior::out_of_range::keep;
                fs::remove_all(f / "run");
                CHECK(run_in(f / "run", other, {.cancel_at = batches + 2, .save_every = save_every}).status ==
                      prior::run_status::cancelled);
                const io::safetensors_file file(f / "run/run.safetensors");
                for (const auto& [name, tensor] : file.tensors()) CHECK(!name.starts_with("samples"));
                CHECK(io::parse_json(file.metadata("state"), "state").at("training").at("step") == 8);
                const auto resumed = run_in(f / "run", other, {.resume = true});
                check_same(resumed, run_in({}, other));
            }
    }
    SECTION("a training whose samples are lost draws them anew, and goes on") {
        CHECK(run_in(f / "run", o, {.cancel_at = batches + 2}).status == prior::run_status::cancelled);
        for (const auto& name : samples_in(f / "run"))
            if (name != "samples_0_50.safetensors") fs::remove(f / "run" / name);
        const auto resumed = run_in(f / "run", o, {.resume = true});
        check_same(resumed, whole);
        CHECK(resumed.drawn == batches - 1);
    }
}

TEST_CASE("a damaged file of samples, and one of another run, end the run with a message that says what to do") {
    const auto o = some_options();
    const auto whole = run_in({}, o);
    const test::temporary_folder f;
    CHECK(run_in(f / "run", o, {.cancel_at = 9}).status == prior::run_status::cancelled);
    const std::string name = "samples_0_16.safetensors", hint = "without this file its samples are drawn anew";
    const auto refused = [&](const std::string& why, const how& h = {.resume = true},
                             const std::string& first = "samples_0_16.safetensors") {
        CAPTURE(why);
        const auto out = run_in(f / "run", o, h);
        CAPTURE(out.error);
        CHECK(test::contains(out.error, (f / ("run/" + first)).string()));
        CHECK(test::contains(out.error, why));
        CHECK(test::contains(out.error, hint));
        CHECK(samples_in(f / "run").size() == 9);  // nothing is lost
    };
    const auto replace_by_one_of = [&](const prior::em_options& other, const how& h = {.cancel_at = 9}) {
        fs::remove_all(f / "other");
        CHECK(run_in(f / "other", other, h).status == prior::run_status::cancelled);
        fs::copy_file(f / ("other/" + name), f / ("run/" + name), fs::copy_options::overwrite_existing);
    };
    SECTION("numbers") {
        damage(f / ("run/" + name), 5);
        refused("tensor \"samples/16\" is damaged");
    }
    SECTION("the end") {
        fs::resize_file(f / ("run/" + name), fs::file_size(f / ("run/" + name)) - 4);
        refused("bytes of data");
    }
    SECTION("what came of the samples") {
        std::fstream file(f / ("run/" + name), std::ios::in | std::ios::out | std::ios::binary);
        std::string text(4096, ' ');
        file.read(text.data(), 4096);
        file.clear();
        const auto at = text.find("residual");
        REQUIRE(at != std::string::npos);
        file.seekp(static_cast<std::streamoff>(text.find_first_of("123456789", at)));
        file.put(text[text.find_first_of("123456789", at)] == '1' ? '2' : '1');
        file.close();
        refused("metadata \"state\" is damaged");
    }
    SECTION("options") {
        auto other = o;
        other.sampling.steps = 5;
        replace_by_one_of(other);
        refused("another \"sampler\"");
    }
    SECTION("seed") {
        auto other = o;
        other.seed = 7;
        replace_by_one_of(other);
        refused("another \"seed\": 7, now 6");
    }
    SECTION("the prior that they are drawn under") {
        replace_by_one_of(o, {.cancel_at = 9, .variance = 2});
        refused("another \"prior\"");
    }
    SECTION("the prior, where the state is gone") {
        fs::remove(f / "run/run.safetensors");
        refused("another \"prior\"", {.resume = true, .variance = 2}, "samples_0_0.safetensors");
        fs::remove_all(f / "run");
        CHECK(run_in(f / "run", o, {.cancel_at = 9}).status == prior::run_status::cancelled);
        fs::remove(f / "run/run.safetensors");  // with the same they are taken
        const auto resumed = run_in(f / "run", o, {.resume = true});
        check_same(resumed, whole);
        CHECK(resumed.drawn == batches - 9);
        return;
    }
    SECTION("a lap to come") {
        fs::remove_all(f / "run");
        CHECK(run_in(f / "run", o, {.cancel_at = 9}).status == prior::run_status::cancelled);
        fs::remove(f / ("run/" + name));
        fs::remove_all(f / "other");
        CHECK(run_in(f / "other", o, {.cancel_at = batches + saves + 5}).status == prior::run_status::cancelled);
        fs::copy_file(f / "other/samples_1_16.safetensors", f / "run/samples_1_16.safetensors");
        const auto out = run_in(f / "run", o, {.resume = true});
        CHECK(test::contains(out.error, "samples_1_16.safetensors: the run in it was made with another"));
        fs::remove(f / "run/samples_1_16.safetensors");
        check_same(run_in(f / "run", o, {.resume = true}), whole);
        return;
    }
    fs::remove(f / ("run/" + name));
    const auto resumed = run_in(f / "run", o, {.resume = true});
    check_same(resumed, whole);
    CHECK(resumed.drawn == batches - 8);
}

TEST_CASE("files of a lap that is done are removed, and those of a run with the run") {
    const auto o = some_options();
    const auto whole = run_in({}, o);
    const test::temporary_folder f;
    CHECK(run_in(f / "run", o, {.cancel_at = batches + saves + 5}).status == prior::run_status::cancelled);
    CHECK(samples_in(f / "run").size() == 5);  // of lap 1
    std::ofstream(f / "run/samples_0_0.safetensors") << "left where the run was killed before it removed it";
    check_same(run_in(f / "run", o, {.resume = true}), whole);
    CHECK(samples_in(f / "run").empty());
    for (const auto* name : {"samples_0_0.safetensors", "samples_12_3456.safetensors"}) CHECK(prior::is_run_file(name));
    for (const auto* name :
         {"samples_0.safetensors", "samples_0_0.npy", "samples__0.safetensors", "samples_0_.safetensors",
          "samples_0_0_0.safetensors", "my_samples_0_0.safetensors", "samples_0_a.safetensors",
          "samples_0_0.safetensors.tmp-1-0", "prior_.safetensors", "prior_-1.safetensors"})
        CHECK_FALSE(prior::is_run_file(name));
    // begin_in_folder: refused, or cleared.
    fs::remove_all(f / "run");
    CHECK(run_in(f / "run", o, {.cancel_at = 9}).status == prior::run_status::cancelled);
    fs::remove(f / "run/run.safetensors");
    CHECK(test::contains(run_in(f / "run", o).error, "holds a run already (samples_0_0.safetensors)"));
    prior::run<test::main_backend<float>> again;
    again.folder = f / "run";
    again.overwrite = true;
    prior::begin_in_folder(again, false);
    CHECK(prior::run_files(f / "run").empty());
}

TEST_CASE("a file of samples that cannot be written ends the run, and what was written stays") {
    const auto o = some_options();
    const test::temporary_folder f;
    const auto in_the_way = f / "run/samples_0_24.safetensors";
    const auto failed = run_in(f / "run", o, {.also = [&](int told) {
                                   if (told == 4) fs::create_directories(in_the_way / "folder");
                               }});
    CHECK(test::contains(failed.error, in_the_way.string() + ": cannot rename"));
    CHECK(leaves_nothing_half_written(f / "run"));
    fs::remove_all(in_the_way);
    const auto resumed = run_in(f / "run", o, {.resume = true});
    check_same(resumed, run_in({}, o));
    CHECK(resumed.drawn == batches - 3);
}

TEST_CASE("where a cancellation ends the batch of one rank, those of the others are kept") {
    using B = test::main_backend<float>;
    const auto draw = [](const parallel::any_communicator& ranks, std::vector<float>& drawn,
                         posterior::sample_state& state, bool cancelled) {
        B b;
        batch<B> y(b, 4, items), x(b, 4, 2 * items);
        b.fill_normal({.seed = 2, .lane = random_lane::user}, y.view());
        b.upload(host_view<const float>(drawn.data(), 4, 2 * items), x.view());
        auto prior = prior::isotropic_gaussian(b, 4, 2.0);
        const std::atomic<bool> cancel = cancelled;
        posterior::sample_options<B> how{.sampling = some_options().sampling};
        how.cancel = &cancel;
        const bool all = posterior::sample(
            b, prior, posterior::observe(b, y.cview(), linop::identity(4), linop::isotropic_covariance(4, 0.01)), how,
            random_key{.seed = 3}, x.view(), state, posterior::no_observer{}, ranks);
        drawn = to_host(b, x);
        return all;
    };
    std::vector<float> whole(8 * items), drawn(8 * items);
    posterior::sample_state of_whole, state;
    CHECK(draw(parallel::any_communicator(), whole, of_whole, false));
    for (const int cancelled : {0, 1, 2}) {
        std::vector<std::vector<float>> each(3, std::vector<float>(8 * items));
        std::vector<posterior::sample_state> states(3);
        test::on_thread_ranks(3, false, [&](const test::thread_ranks& c) {
            const auto r = static_cast<std::size_t>(c.rank());
            (void)draw(parallel::any_communicator(c), each[r], states[r], c.rank() == cancelled);
        });
        for (const auto& of_rank : states) {
            CHECK(of_rank.done == 8 * cancelled);
            CHECK(of_rank.drawn() == 16);
        }
        drawn = each[1];
        state = states[2];
        CHECK(draw(parallel::any_communicator(), drawn, state, false));
        CHECK(drawn == whole);
        CHECK(state.residual == of_whole.residual);
        CHECK(state.statuses == of_whole.statuses);
    }
}

TEST_CASE("ranks that are cancelled in an E-step go on in other numbers, to the same bits, with what is missing") {
    for (const bool exact : {false, true}) {
        auto o = some_options();
        if (exact) o.initial_e_step = prior::gaussian_e_step::draws;
        const auto whole = run_in({}, o);
        CHECK(whole.drawn == batches);
        for (const auto& [before, after, at] :
             {std::array{1, 3, 8}, std::array{3, 2, 7}, std::array{3, 1, 9}, std::array{2, 4, 8}, std::array{4, 1, 1}})
            for (const double save_every : {0.0, 1e9}) {
                CAPTURE(exact, before, after, at, save_every);
                const test::temporary_folder f;
                const auto stopped = run_in(f / "run", o, {.ranks = before, .cancel_at = at, .save_every = save_every});
                CHECK(stopped.status == prior::run_status::cancelled);
                CHECK(leaves_nothing_half_written(f / "run"));
                const auto there = samples_in(f / "run");
                CHECK(!there.empty());
                int lost = 0;  // of one rank
                if (save_every == 0 && before > 1) {
                    const io::safetensors_file file(f / ("run/" + there.front()));
                    lost = static_cast<int>(io::parse_json(file.metadata("state"), "state").at("batches").size());
                    fs::remove(file.path());
                }
                const auto resumed = run_in(f / "run", o, {.ranks = after, .resume = true});
                check_same(resumed, whole);
                CHECK(resumed.drawn == batches - stopped.drawn + lost);
                CHECK(samples_in(f / "run").empty());
            }
    }
}

TEST_CASE("a state of the version before, with samples in it, begins its lap anew, to the same end") {
    const auto o = some_options();
    const auto whole = run_in({}, o);
    const test::temporary_folder f;
    for (const bool training : {false, true}) {
        CAPTURE(training);
        fs::remove_all(f / "run");
        CHECK(run_in(f / "run", o, {.cancel_at = batches + saves + (training ? batches + 1 : 5)}).status ==
              prior::run_status::cancelled);
        for (const auto& name : samples_in(f / "run")) fs::remove(f / ("run/" + name));
        io::safetensors_file in(f / "run/run.safetensors");
        auto state = io::parse_json(in.metadata("state"), "state");
        CHECK(state.at("run").at("stage") == (training ? "training" : "lap"));
        state["run"]["stage"] = training ? "training" : "sampling";
        state["run"]["e_step"] = {
            {"done", 40},  {"residual", 1.5}, {"outside", 0}, {"non_finite", 0}, {"statuses", {0, 40, 0, 0, 0}},
            {"seconds", 1}};
        if (training) state["run"]["samples"] = 40;
        io::safetensors_writer out;
        out.hash_contents();
        for (const char* key : {"format", "version", "config"}) out.metadata(key, in.metadata(key));
        out.metadata("state", state.dump());
        std::vector<io::array<float>> tensors;
        tensors.reserve(in.tensors().size() + 1);
        for (const auto& [name, tensor] : in.tensors()) out.add(name, tensors.emplace_back(in.read<float>(name)));
        out.add("samples", tensors.emplace_back(io::shape_type{40, 4}));
        out.write(f / "run/run.safetensors");
        const auto resumed = run_in(f / "run", o, {.resume = true});
        check_same(resumed, whole);
        CHECK(resumed.drawn == batches);
    }
}

TEST_CASE("sums over batches are the same in whatever order they come") {
    posterior::sample_state in_order, other;
    std::vector<posterior::drawn_range> ranges;
    for (index_t k = 0; k < 7; ++k)
        ranges.push_back({.first = 3 * k,
                          .count = 3,
                          .residual = 1 / (1.0 + static_cast<double>(k)),
                          .non_finite = 1,
                          .seconds = 0.1});
    for (const auto& range : ranges) in_order.add(range);
    for (const std::size_t k : {4U, 1U, 0U, 6U, 2U, 5U}) other.add(ranges[k]);
    CHECK(other.done == 9);
    CHECK(other.drawn() == 18);
    const auto missing = posterior::detail::batches_to_draw(other, 30, 4, 10);
    REQUIRE(missing.size() == 5);  // 9 .. 11 in two, as none goes over 10; 21 .. 24, 25 .. 28, 29
    CHECK(std::pair(missing[0].first, missing[0].count) == std::pair<index_t, index_t>(9, 1));
    CHECK(std::pair(missing[1].first, missing[1].count) == std::pair<index_t, index_t>(10, 2));
    CHECK(std::pair(missing[2].first, missing[2].count) == std::pair<index_t, index_t>(21, 4));
    CHECK(std::pair(missing[3].first, missing[3].count) == std::pair<index_t, index_t>(25, 4));
    other.add(ranges[3]);
    CHECK(other.done == 21);
    CHECK(other.ahead.empty());
    CHECK(other.residual == in_order.residual);
    CHECK(other.seconds == in_order.seconds);
    CHECK(other.data_residual() == in_order.data_residual());
}

TEST_CASE("a first lap under a mixture goes on where it was stopped, and is shared by ranks, to the bit") {
    auto o = some_options();
    o.initial_e_step = prior::gaussian_e_step::automatic;
    const auto gaussian = run_in({}, o);
    o.mixture = {.components = 3, .laps = 3, .shared = 5};
    const auto whole = run_in({}, o);
    check_same(whole, whole);
    CHECK(whole.drawn == batches);
    CHECK(whole.figures != gaussian.figures);
    const test::temporary_folder f;
    const int in_mixture = 2, in_training = 3 + batches + 2;
    for (const int at : {in_mixture, in_training}) {
        const auto folder = f / std::to_string(at);
        CHECK(run_in(folder, o, {.cancel_at = at}).status == prior::run_status::cancelled);
        check_same(run_in(folder, o, {.resume = true}), whole);
    }
    check_same(run_in(f / "shared", o, {.ranks = 2}), whole);
    o.mixture.components = 4;
    CHECK_THAT(run_in(f / "shared", o, {.resume = true}).error, Catch::Contains("components"));
}
