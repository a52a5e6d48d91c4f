// SPDX-License-Identifier: Apache-2.0
#include "diem/fit_report.hpp"

#include <cmath>
#include <string>
#include <utility>

#include <diem/prior/files.hpp>
#include <diem/prior/settings.hpp>

#include "support/report.hpp"

namespace program {

using namespace diem;

fit_report::fit_report(const fit_command& o, const fit_settings& s, io::json data, index_t threads)
    : run_report(o.at.ranks.rank() == 0 ? o.out : path(), std::move(data)) {
    json().update({{"program", "diem fit"},
                   {"message", ""},
                   {"backend", o.at.backend},
                   {"threads", threads},
                   {"ranks", o.at.ranks.size()},
                   {"products", o.at.products},
                   {"seed", s.em.seed},
                   {"operator", s.description.type},
                   {"sigma_y", s.sigma.file.empty() ? io::json(s.sigma.value) : io::json(s.sigma.file.string())},
                   {"prior", "gaussian"},
                   {"rank", s.gaussian.ppca.rank},
                   {"config", s.config},
                   {"laps", io::json::array()}});
    if (s.network) json()["em"] = prior::settings_json(s.em);
}
std::vector<std::string> fit_report::noise(const prior::noise_level& found) {
    auto words = found.words();
    auto& facts = json()["noise"] = {{"known", found.known()}, {"off", found.is_off()}, {"share", found.share}};
    if (found.known()) facts.update({{"factor", found.factor}, {"error", found.error}});
    if (std::isfinite(found.most)) facts["most"] = found.most;
    if (const auto& given = json().at("sigma_y"); found.is_off() && given.is_number()) {
        const double sigma = (found.is_smaller() ? found.most : found.factor) * given.get<double>();
        facts["sigma_y"] = sigma;
        words = std::string("the data look as if sigma_y were ") + (found.is_smaller() ? "at most " : "") +
                support::brief(sigma) + ", you gave " + support::brief(given.get<double>());
    }
    facts["words"] = words;
    return found.is_off() ? std::vector{words} : std::vector<std::string>{};
}
void fit_report::predicted(const prior::held_out_figures& f) {
    using verdict = prior::held_out_figures::verdict_type;
    auto& facts = json()["held_out_values"];
    for (std::size_t k = 0; k < f.levels.size(); ++k) {
        const auto level = std::to_string(static_cast<int>(100 * f.levels[k] + 0.5));
        facts["coverage"][level] = f.coverage[k];
        facts["coverage_error"][level] = f.error[k];
    }
    facts.update({{"predicted", f.held},
                  {"observations", f.observations},
                  {"samples", f.samples},
                  {"rms", f.rms},
                  {"relative_error", f.relative_error},
                  {"mean_rank", f.rank},
                  {"ranks", f.ranks.counts},
                  {"calibrated", f.verdict() == verdict::calibrated},
                  {"known", f.verdict() != verdict::too_few},
                  {"words", f.words()}});
}
void fit_report::laps(const std::vector<prior::lap_diagnostics>& history) {
    auto& laps = json()["laps"] = io::json::array();
    for (const auto& d : history) laps.push_back(prior::to_json(d));
}

}  // namespace program
