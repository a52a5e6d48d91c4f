// SPDX-License-Identifier: Apache-2.0
#include "told.hpp"

#include <cstddef>

#include <diem/io/atomic.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/prior/settings.hpp>

#include "support/outputs.hpp"
#include "support/residual.hpp"

namespace python {

using namespace diem;
namespace fs = std::filesystem;

std::string text_of(const io::json& value) { return value.dump(-1, ' ', false, io::json::error_handler_t::replace); }
void multiply(float* values, index_t size, double factor) {
    if (factor == 1) return;
    for (index_t k = 0; k < size; ++k) values[k] = static_cast<float>(static_cast<double>(values[k]) * factor);
}

io::json facts_of(const program::learned_prior<backend>& prior) {
    io::json laps = io::json::array(), network;
    for (const auto& d : prior.history) laps.push_back(prior::to_json(d));
    if (prior.has_network()) network = model::to_json(prior.network().net().config());
    return {{"features", prior.features()},
            {"network", network},
            {"drawing", prior::settings_json(prior.drawing)},
            {"history", laps},
            {"notes", prior.notes}};
}
prior::drawing_options read_drawing(const io::config_source& config, prior::drawing_options drawing) {
    io::read_config(config, [&](io::config_object& c) {
        for (const char* key : {"observations", "operator", "sigma_y", "image", "layout"}) c.ignore(key);
        prior::read_settings(c, drawing);
    });
    return drawing;
}

std::vector<std::string> warnings_of(const program::data_fit& fit, index_t count) {
    std::vector<std::string> texts;
    if (fit.non_finite > 0)
        texts.push_back(std::to_string(fit.non_finite) + " of " + std::to_string(count) + " samples are not finite");
    if (!(fit.ratio() <= support::poor_residual))
        texts.push_back(fit.words() + "; are operator, sigma_y and prior those of these observations?");
    return texts;
}
io::json facts_of(const program::data_fit& fit, const posterior::sample_state& state) {
    auto told = fit.facts();
    for (std::size_t k = 0; k < solver::solver_statuses; ++k) {
        const auto s = static_cast<solver::solver_status>(k);
        told["solver"][std::string(solver::to_string(s))] = state.share(s);
    }
    told.update({{"non_finite", fit.non_finite}, {"seconds", state.seconds}});
    return told;
}

const char* name_of(prior::progress::stage_type s) {
    using stage = prior::progress::stage_type;
    return s == stage::gaussian   ? "gaussian"
           : s == stage::mixture  ? "mixture"
           : s == stage::sampling ? "sampling"
                                  : "training";
}
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

}  // namespace python
