// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <diem/prior/files.hpp>

#include "diem/fit_stages.hpp"
#include "diem/predictions.hpp"
#include "prior.hpp"

namespace python {

using namespace diem;
namespace fs = std::filesystem;

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
    run.on_lap = [&](const prior::lap_diagnostics& d, in x, const auto&) {
        const auto shape = program::shape_of(1, x.features(), m.image);
        watch.with_python([&] {
            return on_lap(text_of(prior::to_json(d)), view_of(x, {shape.begin() + 1, shape.end()}), m.scale);
        });
    };
    std::optional<program::network_type<backend>> net;
    if (settings.network) net.emplace(*settings.network);
    auto result = program::fit_stages(*b, settings, m, net, run, command.out, pictures, report,
                                      {.warn = [&](const auto& some) { watch.warn(some); }});
    const bool ended = result.status != prior::run_status::cancelled;
    if (folder && ended) prior::save(*folder / "prior.safetensors", *b, result.prior);
    if (m.held && ended) {
        const auto tell = [&](index_t done, index_t total) { return watch.tell("predicting", 0, done, total, 0); };
        if (program::report_predictions(report, *b, result.prior, m, settings.em.seed, &watch.cancel, tell))
            result.report +=
                (result.report.empty() ? "" : "; ") + report.json()["held_out_values"]["words"].get<std::string>();
    }
    report.json()["prior"] = result.prior.has_network() ? "diffusion" : "gaussian";
    report.save(prior::to_string(result.status), result.report);
    watch.rethrow();
    if (ended) watch.warn(support::warnings_of(report.json()));
    if (result.status == prior::run_status::rejected) watch.warn({"a lap was rejected: " + result.report});
    return new prior_type{std::move(b), std::move(result.prior), to_string(result.status), result.report};
}

}  // namespace python
