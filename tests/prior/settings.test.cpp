// SPDX-License-Identifier: Apache-2.0
// Options in JSON and back, and the page that lists them.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/prior/settings.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {

template <class Options>
Options read(const io::json& value, index_t items = 0) {
    Options o;
    io::read_config({value, "test"}, [&](io::config_object& c) { prior::read_settings(c, o, items); });
    return o;
}
std::string refused(const io::json& value) {
    try {
        (void)read<prior::em_options>(value);
    } catch (const config_error& e) {
        return e.what();
    }
    return {};
}

std::string table(const std::vector<prior::setting>& rows) {
    std::ostringstream out;
    out << "| key | values | default | what it is |\n|---|---|---|---|\n";
    for (const auto& r : rows)
        out << "| `" << r.key << "` | " << r.values << " | " << r.standard << " | " << r.help << " |\n";
    return out.str();
}

}  // namespace

TEST_CASE("options written as JSON are read as they were") {
    auto em = prior::presets::paper_cifar();
    em.initial_mmps.emplace(posterior::mmps_options{.max_iterations = 7});
    em.training.adam.max_norm = std::numeric_limits<double>::infinity();
    em.training.loss.sigma_min = 0.02;
    em.outside = prior::out_of_range::remove;
    em.sampling.sampler = diffusion::sampler_choice::heun;
    em.sampling.schedule = diffusion::schedule_choice::edm;
    const auto j = prior::settings_json(em);
    CHECK(j.at("training").at("max_norm") == "inf");
    const auto back = read<prior::em_options>(io::json::parse(j.dump()));
    CHECK(prior::settings_json(back) == j);
    CHECK(back.training.adam.max_norm == em.training.adam.max_norm);
    CHECK(back.initial_mmps->max_iterations == 7);
    CHECK(back.sampling.schedule == diffusion::schedule_choice::edm);

    const auto g = prior::settings_json(prior::gaussian_fit_options{.ppca = {.rank = 3}});
    CHECK(prior::settings_json(read<prior::gaussian_fit_options>(g)) == g);
    CHECK(prior::settings_json(read<prior::em_options>(io::json::object())) ==
          prior::settings_json(prior::em_options{}));
}

TEST_CASE("epochs pass over the samples of all observations") {
    const auto o = read<prior::em_options>(
        {{"sampler", {{"samples_per_observation", 2}}}, {"training", {{"epochs", 64}, {"batch", 256}}}}, 1000);
    CHECK(o.training.steps == 64 * (2000 / 256));
    const auto parts = read<prior::em_options>({{"observations_per_lap", 400},
                                                {"sampler", {{"samples_per_observation", 2}}},
                                                {"training", {{"epochs", 64}, {"batch", 256}}}},
                                               1000);
    CHECK(parts.training.steps == 64 * (668 / 256));  // three parts of at most 334
}

TEST_CASE("what is out of range or unknown is named") {
    CHECK(refused({{"sampler", {{"steps", 0}}}}).find("\"sampler.steps\": is 0, expected at least 1") !=
          std::string::npos);
    CHECK(refused({{"training", {{"ema_decay", 1}}}}).find("\"training.ema_decay\"") != std::string::npos);
    CHECK(refused({{"training", {{"batch", 4611686018427387904}}}}).find("at most 1000000000") != std::string::npos);
    CHECK(refused({{"out_of_range", "drop"}}).find("\"keep\",\"clip\",\"remove\"") != std::string::npos);
    CHECK(refused({{"clip_samples", true}}).find("unknown key") != std::string::npos);
    CHECK(refused({{"training", {{"max_norm", "none"}}}}).find("\"training.max_norm\"") != std::string::npos);
}

// DIEM_FIX_PAGES=1 writes the page.
TEST_CASE("docs/settings.md lists every option as it is") {
    const std::filesystem::path page = std::filesystem::path(DIEM_TEST_DATA) / ".." / ".." / "docs" / "settings.md";
    std::string text;
    {
        std::ifstream in(page);
        REQUIRE(in);
        text.assign(std::istreambuf_iterator<char>(in), {});
    }
    const auto put = [&](const std::string& name, const std::string& content) {
        const std::string begin = "<!-- settings: " + name + " -->\n", end = "<!-- end -->";
        const auto from = text.find(begin);
        REQUIRE(from != std::string::npos);
        const auto at = from + begin.size(), to = text.find(end, at);
        REQUIRE(to != std::string::npos);
        const std::string was = text.substr(at, to - at);
        text.replace(at, to - at, content);
        return was == content;
    };
    const bool same_em = put("em", table(prior::settings_of(prior::em_options{}, "em.")));
    const bool same_gaussian = put("gaussian", table(prior::settings_of(prior::gaussian_fit_options{}, "gaussian.")));
    if (std::getenv("DIEM_FIX_PAGES") != nullptr) std::ofstream(page) << text;
    CHECK((same_em || std::getenv("DIEM_FIX_PAGES") != nullptr));
    CHECK((same_gaussian || std::getenv("DIEM_FIX_PAGES") != nullptr));
}
