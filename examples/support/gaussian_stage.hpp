// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/em/fit.hpp>
#include <diem/io/config.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/em_settings.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

/// The first stage of the programs that learn from a configuration: a Gaussian prior.
namespace support {

struct gaussian_settings {
    diem::index_t rank = 64, laps = 16;
    diem::index_t batch = 256;  ///< observations at once in exact E-steps
    diem::prior::gaussian_e_step e_step = diem::prior::gaussian_e_step::draws;
    diem::train::rest rest = diem::train::rest::isotropic;
    diem::prior::sampling_options sampling{
        .sampler = diem::prior::sampler_choice::ddim, .steps = 64, .batch = 128};  ///< of posterior samples
    diem::posterior::mmps_options mmps{.max_iterations = 256, .relative_tolerance = 1e-3, .precondition = true};
};

/// {"rank", "laps", "batch", "e_step", "rest", "sampler", "posterior"}
inline void read_gaussian(config_object& o, gaussian_settings& g, diem::index_t features) {
    using diem::prior::gaussian_e_step;
    o.optional("rank", g.rank).at_least(0).at_most(features);
    o.optional("laps", g.laps).at_least(0);
    o.optional("batch", g.batch).at_least(1);
    read_choice(o, "e_step", g.e_step,
                {{"moments", gaussian_e_step::moments},
                 {"draws", gaussian_e_step::draws},
                 {"diffusion", gaussian_e_step::diffusion}});
    read_choice(o, "rest", g.rest,
                {{"isotropic", diem::train::rest::isotropic}, {"diagonal", diem::train::rest::diagonal}});
    read_sampler(o, "sampler", g.sampling);
    read_posterior(o, "posterior", g.mmps);
}

/// A bar, with the evidence per observation beside it.
struct gaussian_monitor {
    progress& bar;
    double items;

    template <class S, class P>
    void e_step_end(const diem::em::lap_record& r, const S&, const P&) const {
        show(r, r.lap);
    }
    template <class S, class P>
    void lap_end(const diem::em::lap_record& r, const S&, const P&) const {
        show(r, r.lap + 1);
    }
    void show(const diem::em::lap_record& r, diem::index_t laps) const {
        bar.update(static_cast<long>(laps),
                   std::isfinite(r.objective) ? "log p(y) " + number(r.objective / items, 1) : "");
    }
};

/// Fits N(mu, diag(d) + u u') from N(0, I), with a bar on the terminal.
template <diem::Backend B, class Observation>
[[nodiscard]] diem::em::fit_result<diem::diffusion::gaussian<B>> fit_gaussian_stage(B& b, const gaussian_settings& g,
                                                                                    const Observation& observed,
                                                                                    std::uint64_t seed) {
    progress bar("Gaussian EM", static_cast<long>(g.laps));
    gaussian_monitor monitor{bar, static_cast<double>(observed.items())};
    diem::prior::gaussian_fit_options options{
        .fit = {.max_laps = g.laps}, .e_step = g.e_step, .ppca = {.rank = g.rank, .rest = g.rest}};
    options.batch = g.batch;
    options.sampling = g.sampling;
    options.mmps = g.mmps;
    options.seed = seed;
    return diem::prior::fit_gaussian(b, diem::prior::isotropic_gaussian(b, observed.forward_operator().cols()),
                                     observed, options, monitor);
}

/// Evidence per observation along the laps, NaN where it was not measured.
[[nodiscard]] inline std::vector<double> evidence_of(const std::vector<diem::em::lap_record>& history,
                                                     diem::index_t observations) {
    std::vector<double> evidence;
    for (const auto& r : history) evidence.push_back(r.objective / static_cast<double>(observations));
    return evidence;
}
inline void print_evidence(std::ostream& out, const std::vector<diem::em::lap_record>& history,
                           diem::index_t observations) {
    std::vector<std::vector<std::string>> laps;
    const auto evidence = evidence_of(history, observations);
    for (std::size_t k = 0; k < history.size(); ++k)
        laps.push_back({std::to_string(history[k].lap), number(evidence[k]), number(history[k].e_seconds, 1),
                        number(history[k].m_seconds, 1)});
    out << "\nlog p(y) per observation, of the Gaussian prior each lap began with\n";
    print_table(out, {"lap", "evidence", "E-step s", "M-step s"}, laps);
}

}  // namespace support
