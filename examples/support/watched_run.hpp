// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/prior/learn.hpp>

#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/run_clock.hpp"

namespace support {

/// A run of learning on the terminal: a bar for each stage, a line for each lap. The first signal ends it as cancelled.
/// The folder and what it keeps are set on `run()`.
template <diem::Backend B, class Net>
class watched_run {
    using prior_type = diem::prior::learned<B, Net>;
    using stage_type = diem::prior::progress::stage_type;

public:
    /// Called after a lap's line.
    using lap_function =
        std::function<void(const diem::prior::lap_diagnostics&, diem::const_view_t<B>, const prior_type&)>;

    /// `clock`: for the time that the whole run still takes.
    explicit watched_run(diem::index_t observations, const run_clock& clock = {}, lap_function lap_end = {},
                         diem::index_t observations_per_lap = 0)
        : observations_(observations),
          lap_observations_(diem::prior::part_of_lap(observations, observations_per_lap, 0).count), clock_(clock) {
        catch_interrupts();
        run_.cancel = &cancel_flag();
        run_.on_progress = [this](const diem::prior::progress& p) { show(p); };
        run_.on_lap = [this, lap_end = std::move(lap_end)](const diem::prior::lap_diagnostics& d,
                                                           diem::const_view_t<B> x, const prior_type& next) {
            bar_.reset();
            clock_.lap_done(d);
            std::cout << "lap " << d.lap << ": data residual " << number(d.data_residual) << ", loss "
                      << number(d.loss, 3) << ", change " << number(d.change, 3) << "; " << number(d.e_seconds, 1)
                      << " + " << number(d.m_seconds, 1) << " s" << std::endl;
            if (lap_end) lap_end(d, x, next);
        };
    }
    watched_run(const watched_run&) = delete;
    watched_run& operator=(const watched_run&) = delete;

    [[nodiscard]] diem::prior::run<B, Net>& run() { return run_; }
    /// Ends the bar of a stage, before something else is said.
    void end_bar() { bar_.reset(); }

private:
    void show(const diem::prior::progress& p) {
        const bool mixture = p.stage == stage_type::mixture, gaussian = p.stage == stage_type::gaussian || mixture;
        const bool training = p.stage == stage_type::training;
        const diem::index_t lap = gaussian ? -1 : p.lap;
        if (!bar_ || lap_ != lap || stage_ != p.stage) {
            bar_.reset();
            bar_.emplace(mixture    ? std::string("mixture EM ")
                         : gaussian ? std::string("Gaussian EM")
                                    : "lap " + std::to_string(lap) + (training ? ", training" : ", samples "),
                         static_cast<long>(p.total),
                         static_cast<long>(training || gaussian ? p.done - 1 : p.done));  // what is not timed
            lap_ = lap;
            stage_ = p.stage;
        }
        std::string note;
        if (training) note = "loss " + number(p.figure, 3);
        if (gaussian && std::isfinite(p.figure))
            note = "log p(y) " + number(p.figure / static_cast<double>(mixture ? lap_observations_ : observations_), 3);
        if (const double left = clock_.left(p, bar_->left(static_cast<long>(p.done))); std::isfinite(left))
            note += std::string(note.empty() ? "" : ", ") + "run left " + clock_text(left);
        bar_->update(static_cast<long>(p.done), note);
        if (p.done == p.total) bar_.reset();
    }

    diem::index_t observations_, lap_observations_;
    run_clock clock_;
    diem::prior::run<B, Net> run_;
    std::optional<class progress> bar_;
    diem::index_t lap_ = -2;
    stage_type stage_ = stage_type::gaussian;
};

/// Evidence per observation along the laps of a Gaussian stage, null where it was not measured.
[[nodiscard]] inline diem::io::json evidence_of(const diem::io::json& notes, diem::index_t observations) {
    auto evidence = notes.at("log_evidence");
    for (auto& e : evidence)
        if (!e.is_null()) e = e.get<double>() / static_cast<double>(observations);
    return evidence;
}
/// A table of it: every lap at first, then fewer.
inline void print_evidence(std::ostream& out, const diem::io::json& evidence) {
    std::vector<std::vector<std::string>> rows;
    for (std::size_t k = 0; k < evidence.size(); k = k < 4 ? k + 1 : k < 32 ? 2 * k : k + 16)
        rows.push_back({std::to_string(k), evidence[k].is_null() ? "" : number(evidence[k].get<double>(), 3)});
    out << "\nlog p(y) per observation, of the Gaussian prior each lap began with\n";
    print_table(out, {"lap", "evidence"}, rows);
}

}  // namespace support
