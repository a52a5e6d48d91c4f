// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include <diem/io/folder_lock.hpp>
#include <diem/prior/files.hpp>

#include "diem/fit_settings.hpp"
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
/// Copies of samples, in the user's units, for a callback.
nb::object copy_of(in x, const image& im, double scale) {
    const auto array = result_array(items_of(x.items(), x.features(), im));
    const out to(array.data(), x.features(), x.items());
    copy_items(x, to);
    multiply(to.data(), x.size(), scale);
    return nb::cast(array);
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

prior_type* fit(nb::handle y, nb::handle op, nb::handle config, const std::optional<fs::path>& folder, bool resume,
                double save_every, nb::handle progress, nb::handle on_lap, int threads) {
    const described options(config);
    const floats values = as_floats(y, "y");
    const in at = batch_of(values, "y");
    auto own = own_operator(op, shape_of(values));
    watcher watch(progress);
    const nb::gil_scoped_release free;

    auto b = std::make_unique<backend>(threads);
    const auto read = [&](program::fit_settings& s) {
        s.description.read = s.sigma.read = options.reader();
        if (own) s.description.type = "functions";
        return program::measure<backend>(*b, {shape_of(values), {values.data(), values.size()}}, "y", s.description,
                                         s.sigma, s.image, std::move(own), at);
    };
    const auto [settings, m] = program::read_fit(*b, {options.json(), "diem.fit"}, {}, read);
    auto texts = program::unseen(m, true);
    for (auto& text : program::scale_warnings(m, settings)) texts.push_back(std::move(text));
    watch.with_python([&] { return warn(texts), true; });
    watch.rethrow();
    std::optional<io::folder_lock> lock;
    if (folder) lock.emplace(open_folder(*folder, resume));

    program::run_type<backend> run;
    run.resume = resume;
    run.save_every = save_every;
    run.cancel = &watch.cancel;
    run.on_progress = [&](const prior::progress& p) { watch.tell(name_of(p.stage), p.lap, p.done, p.total, p.figure); };
    run.on_lap = [&](const prior::lap_diagnostics& d, in x, const auto& /*prior*/) {
        watch.with_python([&] {
            return on_lap.is_none() ||
                   !on_lap(to_python(prior::to_json(d)), copy_of(x, m.image, m.scale)).is(nb::bool_(false));
        });
    };
    if (folder) run.folder = *folder;
    auto result = program::gaussian_stage<backend>::fit(*b, settings.gaussian, m, run);
    program::add_notes(result.prior, m);
    if (settings.network && settings.em.laps > 0 && result.status == prior::run_status::completed) {
        if (folder) run.folder = *folder / "checkpoint";
        result.prior.notes = io::json::object();
        program::add_notes(result.prior, m);
        result = program::network_stage<backend>::fit(
            *b, std::move(result.prior), program::network_type<backend>(*settings.network), m, settings.em, run);
    }
    watch.rethrow();
    if (folder && result.status != prior::run_status::cancelled)
        prior::save(*folder / "prior.safetensors", *b, result.prior);
    if (result.status == prior::run_status::rejected) {
        watch.with_python([&] { return warn({"a lap was rejected: " + result.report}), true; });
        watch.rethrow();
    }
    return new prior_type{std::move(b), std::move(result.prior), to_string(result.status), result.report};
}

prior_type* load(const fs::path& file, int threads) {
    auto b = std::make_unique<backend>(threads);
    std::string note;
    auto prior = prior::load<backend, program::network_type<backend>>(file, *b, &note);
    if (!note.empty()) warn({note});
    return new prior_type{std::move(b), std::move(prior)};
}
void save(prior_type& p, const fs::path& file) {
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(p.busy);
    prior::save(file, *p.b, p.prior);
}

}  // namespace python
