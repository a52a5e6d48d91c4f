// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/posterior/sample.hpp>
#include <diem/prior/diagnostics.hpp>

#include "diem/commands.hpp"
#include "diem/measured.hpp"
#include "support/html_report.hpp"
#include "support/report.hpp"

namespace program {

/// posterior.json and posterior.html: a name of their own, since samples may go where the run's report is. `result`: what the
/// program tells machines; `state`: of the solves, none where draws were exact.
template <Backend B>
void save_posterior_report(B& b, const posterior_command& o, const measured<B>& m, const std::string& type,
                           const diem::io::json& result, const diem::posterior::sample_state* state) {
    auto report = facts_of(m);
    report.update(result);
    report.update({{"environment", support::environment()},
                   {"backend", o.at.backend},
                   {"threads", b.threads()},
                   {"products", o.at.products},
                   {"operator", type},
                   {"sigma_y", o.sigma_y},
                   {"status", result.at("complete") == true ? "completed" : "cancelled"}});
    if (state != nullptr) {
        report["seconds"] = state->seconds;
        report["solver_shares"] = diem::prior::diagnostics_of(*state).solver_shares;
    }
    support::save_report(o.out, report, "posterior");
}

}  // namespace program
