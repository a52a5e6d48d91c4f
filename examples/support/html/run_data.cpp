// SPDX-License-Identifier: Apache-2.0
#include "support/html/run_data.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "support/html/text.hpp"
#include "support/memory.hpp"

namespace support::html {

using diem::io::json;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Shown in words elsewhere, or of no interest.
const std::set<std::string_view> shown_elsewhere{"seed",
                                                 "threads",
                                                 "observations",
                                                 "held_out",
                                                 "keep",
                                                 "sigma_y",
                                                 "rank",
                                                 "gaussian_observations",
                                                 "scale",
                                                 "seconds",
                                                 "laps",
                                                 "gaussian_seconds",
                                                 "gaussian_laps",
                                                 "rows",
                                                 "features",
                                                 "observed_share",
                                                 "peak_memory_bytes",
                                                 "seldom_directions",
                                                 "seldom_features",
                                                 "unseen_directions",
                                                 "unseen_features",
                                                 "unseen_items",
                                                 "expected_residual",
                                                 "max_iterations",
                                                 "sampler_steps",
                                                 "training_steps",
                                                 "training_batch",
                                                 "evaluation_samples",
                                                 "samples_per_observation"};

/// Adds what a key holds, where it holds something.
void add(facts& f, const std::string& label, const json& value, const std::string& unit = "") {
    if (!value.is_null()) f.emplace_back(label, shown(value) + unit);
}

/// Objects by the paths of their entries.
void flatten(facts& f, const std::string& path, const json& value, int depth = 0) {
    constexpr std::size_t most = 2000;
    if (f.size() >= most) return;
    if (!value.is_object() || value.empty() || depth > 8) {
        f.emplace_back(path, shown(value));
        return;
    }
    for (const auto& [key, entry] : value.items()) flatten(f, path.empty() ? key : path + "." + key, entry, depth + 1);
}

}  // namespace

std::vector<json> laps_of(const run_data& r) {
    std::vector<json> laps;
    for (const char* key : {"laps", "along_laps"})
        if (const auto& stored = at(r.report, key); laps.empty() && stored.is_array())
            for (const auto& entry : stored)
                if (entry.is_object()) laps.push_back(entry);
    return laps;
}

curve curve_of(const std::vector<json>& laps, const std::string& key) {
    curve c;
    for (std::size_t k = 0; k < laps.size(); ++k) {
        c.x.push_back(number_at(laps[k], "lap").value_or(static_cast<double>(k)));
        c.y.push_back(number_at(laps[k], key).value_or(nan));
    }
    return c;
}

curve evidence_curve(const run_data& r) {
    curve c;
    double each = 1;
    const json* values = &at(r.report, "log_evidence_per_observation");
    if (!values->is_array()) {
        values = &at(r.report, "gaussian.log_evidence");
        each = number_at(r.report, "observations").value_or(nan);
    }
    if (!values->is_array()) return c;
    for (const auto& v : *values) {
        c.x.push_back(static_cast<double>(c.x.size()));
        c.y.push_back(v.is_number() ? v.get<double>() / each : nan);
    }
    return c;
}

double expected_residual(const run_data& r) {
    for (const char* key : {"expected_residual", "observed_share"})
        if (const auto share = number_at(r.report, key); share && *share > 0) return *share;
    return 1;
}

double mean_lap_seconds(const std::vector<json>& laps) {
    double sum = 0;
    for (const auto& lap : laps)
        sum += number_at(lap, "e_seconds").value_or(0) + number_at(lap, "m_seconds").value_or(0);
    return laps.empty() ? nan : sum / static_cast<double>(laps.size());
}

std::size_t laps_done(const run_data& r) {
    const auto entries = laps_of(r).size();
    const auto planned = planned_laps(r);
    return planned && *planned >= 0 && *planned < static_cast<double>(entries) ? static_cast<std::size_t>(*planned)
                                                                               : entries;
}
std::optional<double> planned_laps(const run_data& r) { return number_at(r.report, "em.laps"); }

facts observation_facts(const run_data& r) {
    const auto& j = r.report;
    facts f;
    add(f, "Observations", at(j, "observations"));
    add(f, "Held out, to judge with", at(j, "held_out"));
    add(f, "Values of x", at(j, "features"));
    add(f, "Values of y", at(j, "rows"));
    add(f, "Image (height, width, channels)", at(j, "image"));
    add(f, "Operator", at(j, "operator"));
    if (const auto share = number_at(j, "observed_share"))
        f.emplace_back("Share of the values that was seen", percent(*share));
    if (const auto keep = number_at(j, "keep")) f.emplace_back("Share of the pixels that was kept", percent(*keep));
    add(f, "Values of y that were held out", at(j, "held_out_values.kept_back"));
    add(f, "Noise sigma_y", at(j, "sigma_y"));
    if (const auto scale = number_at(j, "scale"); scale && *scale != 1)
        f.emplace_back("Data were divided by", shown(*scale));
    add(f, "Samples of each observation", at(j, "samples_per_observation"));
    return f;
}

facts time_facts(const run_data& r) {
    facts f;
    const auto laps = laps_of(r);
    if (const auto s = number_at(r.report, "seconds"))
        f.emplace_back(text_at(r.report, "status") == "running" ? "Time so far" : "Time of the program", duration(*s));
    if (const auto s = number_at(r.report, "gaussian_seconds"))
        f.emplace_back("Until the Gaussian stage was done", duration(*s));
    if (const double each = mean_lap_seconds(laps); std::isfinite(each))
        f.emplace_back("A lap, on average", duration(each));
    if (const auto bytes = number_at(r.report, "peak_memory_bytes")) f.emplace_back("Most memory held", gib(*bytes));
    add(f, "Backend", at(r.report, "backend"));
    add(f, "Threads", at(r.report, "threads"));
    add(f, "Precision of products", at(r.report, "products"));
    return f;
}

facts version_facts(const run_data& r) {
    facts f;
    add(f, "diem", at(r.report, "environment.diem"));
    add(f, "Compiler", at(r.report, "environment.compiler"));
    add(f, "Vector instructions", at(r.report, "environment.instructions"));
    add(f, "Seed", at(r.report, "seed"));
    add(f, "Written", at(r.report, "time"));
    return f;
}

facts configuration(const run_data& r) {
    facts f;
    const auto part = [&](const char* name, const json& value) {
        if (value.is_object()) flatten(f, name, value);
    };
    part("config", at(r.report, "config"));
    part("gaussian",
         at(r.report, "gaussian.settings").is_object() ? at(r.report, "gaussian.settings") : at(r.report, "gaussian"));
    part("em", at(r.report, "em"));
    return f;
}

std::vector<json> stages_of(const run_data& r) {
    std::vector<json> some;
    if (const auto& stages = at(r.report, "stages"); stages.is_array())
        for (const auto& stage : stages)
            if (text_at(stage, "set") == text_at(stages.front(), "set")) some.push_back(stage);
    return some;
}

std::vector<figure> figures(const run_data& r) {
    std::vector<figure> f;
    for (const auto& [key, value] : r.report.items())
        if (value.is_number() && !shown_elsewhere.contains(key) && at(r.report, "config." + key).is_null())
            f.push_back({label_of(key), "", value.get<double>()});
    if (const auto& stages = at(r.report, "stages"); stages.is_array())
        for (const auto& stage : stages) {
            const auto name = text_at(stage, "stage");
            if (!stage.is_object()) continue;
            for (const auto& [key, value] : stage.items())
                if (value.is_number() && key != "seconds") f.push_back({label_of(key), name, value.get<double>()});
        }
    return f;
}

std::string summary(const run_data& r) {
    const auto& j = r.report;
    if (auto own = text_at(j, "summary"); !own.empty()) return own;
    const auto program = text_at(j, "program");
    const auto count = number_at(j, "observations");
    std::string text = program == "diem posterior" ? "Posterior samples" : "A prior";
    if (const auto prior = text_at(j, "prior"); !prior.empty() && program != "diem posterior")
        text = prior == "gaussian" ? "A Gaussian prior" : "A diffusion prior";
    text += program == "diem posterior" ? " of " : ", learned from ";
    text += count ? shown(*count) + " observations" : "observations";
    if (const auto name = text_at(j, "operator"); !name.empty())
        text += " through the operator \xE2\x80\x9C" + name + "\xE2\x80\x9D";
    if (const auto share = number_at(j, "observed_share"); share && *share < 1)
        text += ", of which " + percent(*share) + " of the values were seen";
    if (const auto keep = number_at(j, "keep"); keep && *keep < 1)
        text += ", of which " + percent(*keep) + " of the pixels were kept";
    if (const auto& noise = at(j, "sigma_y"); noise.is_number() || noise.is_string())
        text += ", with noise of standard deviation " + shown(noise);
    return text + ".";
}

}  // namespace support::html
