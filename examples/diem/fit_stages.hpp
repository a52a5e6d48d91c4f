// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>

#include "diem/fit_pictures.hpp"
#include "diem/fit_report.hpp"
#include "diem/fit_settings.hpp"
#include "diem/stages.hpp"

namespace program {

/// What is told of a fit beside progress and laps.
struct fit_listener {
    std::function<void(const std::vector<std::string>&)> warn;
    std::function<void(const diem::io::json&)> gaussian{};  ///< notes of the Gaussian stage
    std::function<void(double)> network{};                  ///< before a network learns: the spread of the Gaussian
};

/// Both stages of a fit, its pictures and its report, for the program and the Python package: the Gaussian, then, with a network, the
/// diffusion prior. The state is kept in `folder`, that of laps in checkpoint/ below, unless it is empty; `run.on_lap` is called when
/// a lap's pictures and report are written.
template <Backend B>
[[nodiscard]] learn_result<B> fit_stages(B& b, const fit_settings& s, const measured<B>& m,
                                         const std::optional<network_type<B>>& net, run_type<B>& run,
                                         const std::filesystem::path& folder, const fit_pictures<B>& pictures,
                                         fit_report& report, const fit_listener& listener) {
    using diem::prior::run_status;
    run.folder = folder;
    auto result = gaussian_stage<B>::fit(b, s.gaussian, m, run);
    const auto notes = result.prior.notes;
    if (listener.gaussian) listener.gaussian(notes);
    add_notes(result.prior, m);
    if (result.status == run_status::cancelled) return result;
    report.gaussian(notes);
    if (run.ranks.rank() == 0) listener.warn(report.noise(gaussian_stage<B>::noise(b, result.prior, m, s.em.seed)));
    pictures.samples("samples_gaussian.png", result.prior);
    if (!net || s.em.laps == 0) return result;

    if (listener.network) listener.network(diem::prior::spread_of(b, *result.prior.estimate()));
    report.save("running");
    if (!folder.empty()) run.folder = folder / "checkpoint";
    const auto on_lap = run.on_lap;
    run.on_lap = [&](const diem::prior::lap_diagnostics& d, diem::const_view_t<B> x, const learned_prior<B>& next) {
        pictures.lap(d.lap, x, next);
        report.laps(next.history);
        report.save("running");
        if (on_lap) on_lap(d, x, next);
    };
    result.prior.notes = diem::io::json::object();
    add_notes(result.prior, m);
    result = network_stage<B>::fit(b, std::move(result.prior), *net, m, s.em, run);
    run.on_lap = on_lap;
    if (result.status != run_status::cancelled && result.prior.has_network())
        pictures.samples("samples_diffusion.png", result.prior);
    report.laps(result.prior.history);
    return result;
}

}  // namespace program
