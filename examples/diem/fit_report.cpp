// SPDX-License-Identifier: Apache-2.0
#include "diem/fit_report.hpp"

#include <utility>

#include <diem/prior/files.hpp>
#include <diem/prior/settings.hpp>

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
void fit_report::laps(const std::vector<prior::lap_diagnostics>& history) {
    auto& laps = json()["laps"] = io::json::array();
    for (const auto& d : history) laps.push_back(prior::to_json(d));
}

}  // namespace program
