// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include <diem/io/folder_lock.hpp>
#include <diem/prior/files.hpp>

#include "diem/fit_pictures.hpp"
#include "diem/fit_report.hpp"
#include "diem/predictions.hpp"
#include "prior.hpp"
#include "support/outputs.hpp"

namespace python {

using namespace diem;
namespace fs = std::filesystem;

namespace {

const char* name_of(prior::progress::stage_type s) {
    using stage = prior::progress::stage_type;
    return s == stage::gaussian ? "gaussian" : s == stage::sampling ? "sampling" : "training";
}
/// A folder that holds a run is gone on with, or refused; what a killed one left half-written goes.
io::folder_lock open_folder(const fs::path& folder, bool resume) {
    support::make_folder(folder);
    io::folder_lock lock(folder);
    const fs::path both[] = {folder, folder / "checkpoint"};
    for (const auto& each : both) {
        if (!prior::run_files(each).empty() && !resume)
            throw io_error(folder.string() + ": holds a run already; resume=True goes on with it");
        if (fs::is_directory(each)) io::remove_leftovers(each);
    }
    return lock;
}

}  // namespace

prior_type* fit(const problem& given, const std::optional<fs::path>& folder, bool resume, double save_every,
                watcher::told progress, lap_function on_lap, int threads) {
    watcher watch(std::move(progress));
    const nb::gil_scoped_release free;
    auto b = std::make_unique<backend>(threads);
    const auto [settings, m] = program::read_fit(*b, {given.config, "diem.fit"}, {}, [&](program::fit_settings& s) {
        return given.measure(*b, s.description, s.sigma, s.image);
    });
    auto texts = program::unseen(m, true);
    for (auto& text : program::scale_warnings(m, settings)) texts.push_back(std::move(text));
    watch.warn(texts);
    std::optional<io::folder_lock> lock;
    if (folder) lock.emplace(open_folder(*folder, resume));
    program::fit_command command;
    command.at.backend = "eigen";
    command.out = folder.value_or(fs::path());
    const program::fit_pictures<backend> pictures(*b, command.out, m, settings.pictures);
    program::fit_report report(command, settings, program::facts_of(m), b->threads());
    pictures.observations();
    report.save("running");

    program::run_type<backend> run;
    run.resume = resume;
    run.save_every = save_every;
    run.cancel = &watch.cancel;
    run.on_progress = [&](const prior::progress& p) { watch.tell(name_of(p.stage), p.lap, p.done, p.total, p.figure); };
    run.on_lap = [&](const prior::lap_diagnostics& d, in x, const auto& next) {
        const auto shape = program::shape_of(1, x.features(), m.image);
        pictures.lap(d.lap, x, next);
        report.laps(next.history);
        report.save("running");
        watch.with_python([&] {
            return on_lap(text_of(prior::to_json(d)), view_of(x, {shape.begin() + 1, shape.end()}), m.scale);
        });
    };
    run.folder = command.out;
    auto result = program::gaussian_stage<backend>::fit(*b, settings.gaussian, m, run);
    report.gaussian(result.prior.notes);
    program::add_notes(result.prior, m);
    if (result.status == prior::run_status::completed) {
        watch.warn(report.noise(program::gaussian_stage<backend>::noise(*b, result.prior, m, settings.em.seed)));
        pictures.samples("samples_gaussian.png", result.prior);
    }
    if (settings.network && settings.em.laps > 0 && result.status == prior::run_status::completed) {
        if (folder) run.folder = *folder / "checkpoint";
        result.prior.notes = io::json::object();
        program::add_notes(result.prior, m);
        result = program::network_stage<backend>::fit(
            *b, std::move(result.prior), program::network_type<backend>(*settings.network), m, settings.em, run);
    }
    const bool ended = result.status != prior::run_status::cancelled, network = result.prior.has_network();
    if (ended && network) pictures.samples("samples_diffusion.png", result.prior);
    if (folder && ended) prior::save(*folder / "prior.safetensors", *b, result.prior);
    if (m.held && ended) {
        const auto tell = [&](index_t done, index_t total) { return watch.tell("predicting", 0, done, total, 0); };
        if (program::report_predictions(report, *b, result.prior, m, settings.em.seed, &watch.cancel, tell))
            result.report +=
                (result.report.empty() ? "" : "; ") + report.json()["held_out_values"]["words"].get<std::string>();
    }
    report.laps(result.prior.history);
    report.json()["prior"] = network ? "diffusion" : "gaussian";
    report.save(prior::to_string(result.status), result.report);
    watch.rethrow();
    if (ended) watch.warn(support::warnings_of(report.json()));
    if (result.status == prior::run_status::rejected) watch.warn({"a lap was rejected: " + result.report});
    return new prior_type{std::move(b), std::move(result.prior), to_string(result.status), result.report};
}

}  // namespace python
