// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "covariances/problem.hpp"
#include "support/html_report.hpp"
#include "support/interrupt.hpp"
#include "support/outputs.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace covariances {

/// Linear interpolation between the sorted values, as numpy.percentile.
inline double quantile(std::vector<double> values, double p) {
    std::sort(values.begin(), values.end());
    const double at = p * static_cast<double>(values.size() - 1);
    const auto k = static_cast<std::size_t>(at);
    if (k + 1 >= values.size()) return values.back();
    return values[k] + (at - static_cast<double>(k)) * (values[k + 1] - values[k]);
}

/// What a run that is resumed has found already, `total` entries. Throws config_error where it is of other settings, io_error
/// where it is no such state.
inline std::vector<finding> load_state(const std::filesystem::path& path, const io::json& settings, std::size_t total) {
    const auto stored = io::load_json(path);
    std::vector<finding> found;
    try {
        if (stored.at("settings") != settings) throw config_error(path.string() + ": of a run with other settings");
        found = stored.at("found").get<std::vector<finding>>();
    } catch (const io::json::exception& e) {
        throw io_error(path.string() + ": is no state of a run: " + e.what());
    }
    const bool fits = found.size() == total && std::all_of(found.begin(), found.end(), [](const finding& f) {
                          return f.divergence.empty() || f.divergence.size() == choices.size();
                      });
    if (!fits) throw io_error(path.string() + ": is no state of a run: \"found\" does not fit its settings");
    return found;
}

/// What must be the same when a run is resumed.
inline io::json fingerprint(const settings& s) {
    const auto& o = s.sinkhorn;
    return {s.seeds,  s.components, s.thickness, s.sigma_y,    s.sigmas,    s.points,
            s.scaled, s.annealed,   o.annealing, o.iterations, o.tolerance, o.regularization};
}

/// What the levels say of which every seed is done, as report.json holds it.
inline io::json outcome(const settings& s, const std::vector<finding>& found) {
    const std::size_t levels = s.sigmas.size();
    std::vector<std::size_t> complete;
    for (std::size_t level = 0; level < levels; ++level) {
        bool all = true;
        for (std::size_t k = level; k < found.size(); k += levels) all = all && !found[k].divergence.empty();
        if (all) complete.push_back(level);
    }
    std::vector<double> sigmas, marginal_errors, wins;
    std::vector<std::vector<std::vector<double>>> values(choices.size());  // [choice][level][seed]
    for (const auto level : complete) {
        sigmas.push_back(s.sigmas[level]);
        marginal_errors.push_back(0);
        for (auto& of_choice : values) of_choice.emplace_back();
        for (std::size_t k = level; k < found.size(); k += levels) {
            for (std::size_t c = 0; c < choices.size(); ++c) values[c].back().push_back(found[k].divergence[c]);
            marginal_errors.back() = std::max(marginal_errors.back(), found[k].marginal_error);
        }
    }
    io::json results = io::json::array();
    for (std::size_t c = 0; c < choices.size(); ++c) {
        io::json low = io::json::array(), median = io::json::array(), high = io::json::array();
        for (const auto& v : values[c]) {
            low.push_back(quantile(v, 0.25));
            median.push_back(quantile(v, 0.5));
            high.push_back(quantile(v, 0.75));
        }
        results.push_back({{"covariance", to_string(choices[c])},
                           {"quartile_1", low},
                           {"median", median},
                           {"quartile_3", high},
                           {"values", values[c]}});
    }
    for (std::size_t level = 0; level < sigmas.size(); ++level) {
        double best = std::numeric_limits<double>::infinity();
        for (std::size_t c = 0; c < choices.size(); ++c)
            if (choices[c] != covariance::tweedie) best = std::min(best, results[c]["median"][level].get<double>());
        wins.push_back(best / results.back()["median"][level].get<double>());
    }
    return {{"largest_marginal_error", marginal_errors},
            {"sigmas", sigmas},
            {"results", results},
            {"tweedie_wins_by", wins}};
}

/// The same for people: verdicts, curves and a table of the page.
inline io::json shown_outcome(const settings& s, const io::json& found) {
    const auto& sigmas = found.at("sigmas");
    if (sigmas.empty()) return io::json::object();
    const auto count = sigmas.size();
    io::json curves = io::json::array(), rows = io::json::array(), head = io::json::array({"sigma"});
    for (const auto& of : found.at("results")) {
        curves.push_back({{"name", of.at("covariance")}, {"x", sigmas}, {"y", of.at("median")}});
        head.push_back(of.at("covariance"));
    }
    for (std::size_t level = 0; level < count; ++level) {
        io::json row = io::json::array({support::brief(sigmas[level].get<double>())});
        for (const auto& of : found.at("results")) {
            const auto text = [&](const char* key) { return support::brief(of.at(key)[level].get<double>()); };
            row.push_back(text("median") + " (" + text("quartile_1") + " to " + text("quartile_3") + ")");
        }
        rows.push_back(row);
    }
    const auto& wins = found.at("tweedie_wins_by");
    const auto won = static_cast<std::size_t>(
        std::count_if(wins.begin(), wins.end(), [](const io::json& w) { return w.get<double>() > 1; }));
    double error = 0;
    for (const auto& e : found.at("largest_marginal_error")) error = std::max(error, e.get<double>());
    constexpr double converged = 0.01;  // of all mass
    const auto of_levels = std::to_string(won) + " of " + std::to_string(count) + " noise levels";
    const io::json verdicts{
        {{"level", won == count ? "good" : "note"},
         {"title", "Tweedie's covariance is nearest to the posterior at " + of_levels},
         {"text", "By its median divergence over " + std::to_string(s.seeds) + " seeds."}},
        {{"level", error <= converged ? "good" : "warning"},
         {"title", error <= converged ? "The transports converged" : "Some transports did not converge"},
         {"text", "The worst of them leaves a marginal off by " + support::brief(error) +
                      " of its mass; beyond 0.01 more iterations help."}}};
    const io::json charts{{{"title", "Divergence of q(x_t | y) to p(x_t | y)"},
                           {"x_label", "sigma"},
                           {"logarithmic_x", true},
                           {"curves", curves},
                           {"note", "Median of the seeds; the lower the better."}},
                          {{"title", "The best other median over Tweedie's"},
                           {"x_label", "sigma"},
                           {"logarithmic_x", true},
                           {"from_zero", true},
                           {"curves", {{{"name", "factor"}, {"x", sigmas}, {"y", wins}}}},
                           {"target", 1},
                           {"target_name", "as near as Tweedie's"},
                           {"note", "Above 1 Tweedie's is the nearest."}}};
    const io::json tables{
        {{"title", "Median divergence, first and third quartile of the seeds"}, {"head", head}, {"rows", rows}}};
    return {{"verdicts", verdicts}, {"charts", charts}, {"tables", tables}};
}

/// What the run is told, as a configuration says it.
inline io::json configuration(const settings& s) {
    return {{"seeds", s.seeds},
            {"components", s.components},
            {"thickness", s.thickness},
            {"sigma_y", s.sigma_y},
            {"points", s.points},
            {"regularization", s.sinkhorn.regularization},
            {"regularization_scaled", s.scaled},
            {"annealed", s.annealed},
            {"annealing", s.sinkhorn.annealing},
            {"iterations", s.sinkhorn.iterations},
            {"tolerance", s.sinkhorn.tolerance}};
}

template <Backend B>
int run(B& b, const settings& s, const program_options& o) {
    support::outputs files("--out", o.out);
    files.reads("--config", o.config).writes({"state.json", "report.json", "report.html"});
    files.prepare();
    std::cout << s.seeds << " mixtures of " << s.components << " components, " << s.sigmas.size() << " noise levels, "
              << s.points << " points each; " << support::describe(o.at, b.threads()) << std::endl;
    const auto levels = static_cast<index_t>(s.sigmas.size()), total = s.seeds * levels;
    // What is found, number seed * levels + level; stored now and then for a resumed run.
    std::vector<finding> found(static_cast<std::size_t>(total));
    const io::json key = fingerprint(s);
    const auto state = o.out / "state.json";
    index_t done = 0;
    if (o.resume && std::filesystem::exists(state)) {
        found = load_state(state, key, found.size());
        for (const auto& f : found) done += f.divergence.empty() ? 0 : 1;
    }
    auto facts = configuration(s);
    facts.update(
        {{"program", "covariances"},
         {"summary", "Choices of the covariance in the likelihood of an observation, against the exact posteriors of " +
                         std::to_string(s.seeds) + " mixtures on curves in R^" + std::to_string(s.features) + " at " +
                         std::to_string(s.sigmas.size()) + " noise levels."},
         {"backend", o.at.backend},
         {"threads", b.threads()},
         {"observations", s.seeds},
         {"features", s.features},
         {"rows", 1},
         {"operator", "a random direction for each seed"},
         {"config", configuration(s)}});
    support::run_report report(o.out, std::move(facts));
    const auto store = [&](const std::string& status) {
        io::save_json(state, {{"settings", key}, {"found", found}});
        const auto results = outcome(s, found);
        report.json().update(results);
        report.json().update(shown_outcome(s, results));
        report.progress(done, total, "posteriors");
        report.save(status);
    };
    support::catch_interrupts();
    store("running");
    support::progress bar("posteriors", static_cast<long>(total), static_cast<long>(done));
    // So many seeds at once that their transports fill the threads, and not so many that the state is seldom stored.
    const auto together = static_cast<std::size_t>(std::max<index_t>(4096 / s.points, 1));
    double stored_at = 0;
    for (std::size_t level = 0; level < s.sigmas.size(); ++level) {
        const auto at = [&](std::uint64_t seed) -> auto& { return found[seed * s.sigmas.size() + level]; };
        std::vector<std::uint64_t> todo;
        for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(s.seeds); ++seed)
            if (at(seed).divergence.empty()) todo.push_back(seed);
        while (!todo.empty() && !support::interrupted()) {
            const auto rest = todo.size() - std::min(todo.size(), together);
            const std::vector<std::uint64_t> seeds(todo.begin() + static_cast<std::ptrdiff_t>(rest), todo.end());
            todo.resize(rest);
            const auto results = divergences(b, s, seeds, level);
            for (std::size_t k = 0; k < seeds.size(); ++k) at(seeds[k]) = results[k];
            done += static_cast<index_t>(seeds.size());
            bar.update(static_cast<long>(done));
            if (bar.elapsed() - stored_at < 10) continue;
            store("running");
            stored_at = bar.elapsed();
        }
    }
    bar.finish();
    store(done < total ? "cancelled" : "completed");
    if (done < total) {
        std::cout << "stopped: run again with --resume to go on\n";
        return support::interrupt_status();
    }
    report.warn("covariances");

    const auto& results = report.json();
    const auto number = [](double v) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2g", v);
        return std::string(text);
    };
    std::vector<std::string> head{"sigma"};
    for (const covariance choice : choices) head.emplace_back(to_string(choice));
    head.emplace_back("tweedie wins by");
    std::vector<std::vector<std::string>> rows;
    for (std::size_t level = 0; level < s.sigmas.size(); ++level) {
        rows.push_back({number(s.sigmas[level])});
        for (const auto& of : results["results"]) rows.back().push_back(number(of["median"][level].get<double>()));
        rows.back().push_back(number(results["tweedie_wins_by"][level].get<double>()));
    }
    std::cout << "\nDivergence of q(x_t | y) to p(x_t | y), median of " << s.seeds
              << " seeds; last column: the best other median over Tweedie's\n";
    support::print_table(std::cout, head, rows);
    std::cout << '\n'
              << support::number(results["seconds"].get<double>(), 1) << " s. report.json and report.html are in "
              << std::filesystem::absolute(o.out).string() << '\n';
    return 0;
}

}  // namespace covariances
