// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "covariances/problem.hpp"
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

template <Backend B>
int run(B& b, const settings& s, const program_options& o) {
    const auto start = std::chrono::steady_clock::now();
    support::outputs files("--out", o.out);
    files.reads("--config", o.config).writes({"state.json", "report.json"});
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
    const auto store = [&] { io::save_json(state, {{"settings", key}, {"found", found}}); };
    support::progress bar("posteriors", static_cast<long>(total), static_cast<long>(done));
    // So many seeds at once that their transports fill the threads, and not so many that the state is seldom stored.
    const auto together = static_cast<std::size_t>(std::max<index_t>(4096 / s.points, 1));
    support::catch_interrupts();
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
            store();
            stored_at = bar.elapsed();
        }
    }
    store();
    if (done < total) {
        bar.finish();
        std::cout << "stopped: run again with --resume to go on\n";
        return support::interrupt_status();
    }
    // values[choice][level][seed]
    std::vector<std::vector<std::vector<double>>> values(choices.size(),
                                                         std::vector<std::vector<double>>(s.sigmas.size()));
    std::vector<double> marginal_errors(s.sigmas.size());
    for (std::size_t k = 0; k < found.size(); ++k) {
        const std::size_t level = k % s.sigmas.size();
        for (std::size_t c = 0; c < choices.size(); ++c) values[c][level].push_back(found[k].divergence[c]);
        marginal_errors[level] = std::max(marginal_errors[level], found[k].marginal_error);
    }
    bar.finish();

    io::json results = io::json::array(), wins = io::json::array();
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> head{"sigma"};
    const auto number = [](double v) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2g", v);
        return std::string(text);
    };
    for (std::size_t k = 0; k < choices.size(); ++k) {
        head.emplace_back(to_string(choices[k]));
        io::json low = io::json::array(), median = io::json::array(), high = io::json::array();
        for (const auto& v : values[k]) {
            low.push_back(quantile(v, 0.25));
            median.push_back(quantile(v, 0.5));
            high.push_back(quantile(v, 0.75));
        }
        results.push_back({{"covariance", to_string(choices[k])},
                           {"quartile_1", low},
                           {"median", median},
                           {"quartile_3", high},
                           {"values", values[k]}});
    }
    head.emplace_back("tweedie wins by");
    for (std::size_t level = 0; level < s.sigmas.size(); ++level) {
        rows.push_back({number(s.sigmas[level])});
        double best = std::numeric_limits<double>::infinity();
        for (std::size_t k = 0; k < choices.size(); ++k) {
            const double median = results[k]["median"][level];
            rows.back().push_back(number(median));
            if (choices[k] != covariance::tweedie) best = std::min(best, median);
        }
        const double factor = best / results.back()["median"][level].template get<double>();
        wins.push_back(factor);
        rows.back().push_back(number(factor));
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << "\nDivergence of q(x_t | y) to p(x_t | y), median of " << s.seeds
              << " seeds; last column: the best other median over Tweedie's\n";
    support::print_table(std::cout, head, rows);
    io::save_json(o.out / "report.json", {{"program", "covariances"},
                                          {"environment", support::environment()},
                                          {"backend", o.at.backend},
                                          {"threads", b.threads()},
                                          {"seeds", s.seeds},
                                          {"components", s.components},
                                          {"thickness", s.thickness},
                                          {"sigma_y", s.sigma_y},
                                          {"points", s.points},
                                          {"regularization", s.sinkhorn.regularization},
                                          {"regularization_scaled", s.scaled},
                                          {"annealed", s.annealed},
                                          {"annealing", s.sinkhorn.annealing},
                                          {"iterations", s.sinkhorn.iterations},
                                          {"tolerance", s.sinkhorn.tolerance},
                                          {"largest_marginal_error", marginal_errors},
                                          {"sigmas", s.sigmas},
                                          {"results", results},
                                          {"tweedie_wins_by", wins},
                                          {"seconds", seconds}});
    std::cout << '\n'
              << support::number(seconds, 1) << " s. report.json is in " << std::filesystem::absolute(o.out).string()
              << '\n';
    return 0;
}

}  // namespace covariances
