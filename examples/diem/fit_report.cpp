// SPDX-License-Identifier: Apache-2.0
#include "diem/fit_report.hpp"

#include <exception>

#include <diem/prior/files.hpp>
#include <diem/prior/settings.hpp>

#include "support/html_report.hpp"
#include "support/report.hpp"

namespace program {

using namespace diem;

fit_report::fit_report(const fit_command& o, const fit_settings& s, io::json data, index_t threads)
    : folder_(o.out), report_(std::move(data)) {
    report_.update({{"program", "diem fit"},
                    {"environment", support::environment()},
                    {"backend", o.at.backend},
                    {"threads", threads},
                    {"products", o.at.products},
                    {"seed", s.em.seed},
                    {"operator", s.description.type},
                    {"sigma_y", s.sigma.file.empty() ? io::json(s.sigma.value) : io::json(s.sigma.file.string())},
                    {"prior", "gaussian"},
                    {"rank", s.gaussian.ppca.rank},
                    {"config", s.config},
                    {"laps", io::json::array()}});
    if (s.network) report_["em"] = prior::settings_json(s.em);
}
fit_report::~fit_report() {
    if (report_.value("status", "") != "running") return;
    try {
        save("failed", "an error ended the run; what it said is on standard error");
    } catch (const std::exception&) {  // the error that ended the run may be that nothing can be written
    }
}
void fit_report::laps(const std::vector<prior::lap_diagnostics>& history) {
    report_["laps"] = io::json::array();
    for (const auto& d : history) report_["laps"].push_back(prior::to_json(d));
}
void fit_report::save(const std::string& status, const std::string& message) {
    report_["status"] = status;
    report_["message"] = message;
    report_["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    support::save_report(folder_, report_);
}

}  // namespace program
