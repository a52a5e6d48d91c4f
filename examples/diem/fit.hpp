// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <iostream>
#include <string>
#include <utility>

#include <diem/io/png.hpp>
#include <diem/prior/gaussian_checkpoint.hpp>

#include "diem/commands.hpp"
#include "diem/fit_settings.hpp"
#include "diem/stages.hpp"
#include "support/report.hpp"

namespace program {

using namespace diem;

/// A run in its folder.
template <Backend B>
class fit_run {
public:
    fit_run(B& b, const fit_command& o, fit_settings& s, const measured<B>& m) : b_(b), o_(o), s_(s), m_(m) {}

    /// Refuses a folder that holds a run, unless it is to go on or to be begun anew.
    void prepare_folder() const {
        namespace fs = std::filesystem;
        const auto run = o_.out / "checkpoint" / "run.safetensors";
        const bool used = fs::exists(gaussian_path()) || fs::exists(run);
        if (used && !o_.resume && !o_.overwrite)
            throw io_error(o_.out.string() +
                           ": holds a run already; --resume goes on with it, --overwrite begins anew");
        make_folder(o_.out);
        if (o_.overwrite) {  // nothing of a longer run before stays beside the new one
            for (const auto& folder : {o_.out, o_.out / "checkpoint"}) {
                if (!fs::is_directory(folder)) continue;
                std::vector<fs::path> old;
                for (const auto& e : fs::directory_iterator(folder)) {
                    const auto name = e.path().filename().string();
                    if (name.rfind("lap_", 0) == 0 || name.rfind("prior_", 0) == 0 || name == "run.safetensors" ||
                        name == "gaussian.safetensors" || name == "prior.safetensors")
                        old.push_back(e.path());
                }
                for (const auto& file : old) fs::remove(file);
            }
        }
    }

    /// Fitted, or read where it is there.
    gaussian<B> first_stage() {
        const io::json settings = fingerprint();
        if (o_.resume && std::filesystem::exists(gaussian_path())) {
            auto stored = prior::load_gaussian(gaussian_path(), b_);
            prior::detail::check_fingerprint(gaussian_path().string(),
                                             stored.notes.value("settings", io::json::object()), settings);
            notes_ = stored.notes;
            std::cout << "Gaussian prior: read from " << gaussian_path().string() << std::endl;
            return std::move(stored.prior);
        }
        const auto start = std::chrono::steady_clock::now();
        auto fitted = gaussian_stage<B>::fit(b_, s_.gaussian, m_, s_.prior.em.seed);
        support::print_evidence(std::cout, fitted.history, m_.items());
        io::json evidence = io::json::array();
        for (const double e : support::evidence_of(fitted.history, m_.items()))
            evidence.push_back(std::isfinite(e) ? io::json(e) : io::json(nullptr));
        notes_ = {{"laps", fitted.laps},
                  {"settings", settings},
                  {"log_evidence_per_observation", evidence},
                  {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}};
        save(gaussian_path(), fitted.prior);
        return std::move(fitted.prior);
    }
    void save(const path& to, const gaussian<B>& g) {
        auto config = s_.prior;
        config.network.reset();
        config.em.mmps = gaussian_mmps();
        prior::save_gaussian(to, b_, g, to_json(config), notes_);
    }

    /// The network, and its status; Gaussian samples of the first stage are drawn by the caller.
    prior::em_result<B> second_stage(network<B>& model, gaussian<B>& initial) {
        auto em = s_.prior.em;
        em.folder = o_.out / "checkpoint";
        em.resume = o_.resume;
        em.config = to_json(s_.prior);
        return network_stage<B>::fit(b_, model, m_, initial, em,
                                     [&](const prior::lap_diagnostics& d, const learned_prior<B>& next) {
                                         if (!m_.image) return;
                                         prior::load_into(b_, next, model);
                                         batch<B> x(b_, m_.features(), s_.pictures);
                                         network_stage<B>::draw(b_, model, next.mean.flat(), em.sampling, 17, x.view());
                                         picture("lap_" + std::to_string(d.lap) + ".png", x);
                                     });
    }
    void picture(const std::string& name, const batch<B>& x) const {
        if (m_.image) io::save_png(o_.out / name, support::picture_row(b_, x.cview(), *m_.image, scale_of(*m_.image)));
    }
    [[nodiscard]] const io::json& notes() const { return notes_; }

private:
    [[nodiscard]] path gaussian_path() const { return o_.out / "gaussian.safetensors"; }
    [[nodiscard]] io::json fingerprint() const {
        const auto& g = s_.gaussian;
        return {{"observations", m_.items()},
                {"features", m_.features()},
                {"rows", m_.y.features()},
                {"seed", s_.prior.em.seed},
                {"gaussian", {g.rank, g.laps, g.batch, static_cast<int>(g.e_step), static_cast<int>(g.rest)}},
                {"gaussian.sampler", support::sampler_json(g.sampling)},
                {"gaussian.posterior", support::posterior_json(g.mmps)}};
    }

    B& b_;
    const fit_command& o_;
    fit_settings& s_;
    const measured<B>& m_;
    io::json notes_;
};

/// Data far outside [-2, 2] are no error of a Gaussian fit, but laps of the network would be rejected, and pictures be wrong.
template <Backend B>
void warn_of_range(B& b, const batch<B>& x) {
    index_t outside = 0;
    for (const float v : to_host(b, x)) outside += v < -4 || v > 4 ? 1 : 0;
    const double share = static_cast<double>(outside) / static_cast<double>(x.features() * x.items());
    if (share > 0.05)
        std::cerr << "diem: warning: " << support::number(100 * share, 0)
                  << " % of the values of Gaussian samples lie outside [-4, 4]; scale data to about [-2, 2]\n";
}

template <Backend B>
int fit(B& b, const fit_command& o) {
    const auto start = std::chrono::steady_clock::now();
    auto [s, m] = read_fit(b, o.config);
    const auto& em = s.prior.em;
    std::cout << m.items() << " observations of " << m.y.features() << " values (" << s.description.type << " of "
              << m.features() << "); Gaussian of rank " << s.gaussian.rank << " in " << s.gaussian.laps << " laps; "
              << (s.prior.network ? "a network in " + std::to_string(em.laps) + " laps" : "no network") << "; "
              << support::describe(o.at, b.threads()) << std::endl;
    if (m.share < 1)
        std::cout << "masks leave " << support::number(100 * m.share, 1)
                  << " % of the values: data residuals of a good fit are near " << support::number(m.share)
                  << std::endl;
    std::optional<network<B>> model;
    if (s.prior.network) {
        model.emplace(b, model::any_network<B>(*s.prior.network));
        model->initialize(b, {.seed = em.seed});
        support::print_plan(std::cout, network_stage<B>::plan(b, *model, em, m.items()), em);
    }
    if (o.plan) return 0;

    fit_run<B> run(b, o, s, m);
    run.prepare_folder();
    save_observed(b, o.out / "observed.png", m, std::min(s.pictures, m.items()));
    auto initial = run.first_stage();
    batch<B> x(b, m.features(), std::max<index_t>(s.pictures, 64));
    initial.sample(b, {.seed = 17, .lane = random_lane::prior_sample}, x.view());
    warn_of_range(b, x);
    const auto shown = [&](const batch<B>& from) {
        batch<B> part(b, from.features(), s.pictures);
        b.copy(from.cview().item_range(0, s.pictures), part.view());
        return part;
    };
    run.picture("samples_gaussian.png", shown(x));

    auto status = prior::em_status::completed;
    std::string message = "completed";
    io::json laps = io::json::array();
    bool learned = false;
    if (model && em.laps > 0) {
        const auto result = run.second_stage(*model, initial);
        status = result.status;
        message = result.report;
        for (const auto& d : result.prior.history) laps.push_back(prior::to_json(d));
        if (status == prior::em_status::cancelled) return 130;
        learned = result.prior.laps > 0;
        if (learned) {
            prior::save_prior(o.out / "prior.safetensors", b, model->table(), result.prior, to_json(s.prior));
            if (m.image) {
                batch<B> free(b, m.features(), s.pictures);
                network_stage<B>::draw(b, *model, result.prior.mean.flat(), em.sampling, 17, free.view());
                run.picture("samples_diffusion.png", free);
            }
        }
    }
    if (!learned) run.save(o.out / "prior.safetensors", initial);
    io::save_json(o.out / "report.json",
                  {{"program", "diem fit"},
                   {"environment", support::environment()},
                   {"backend", o.at.backend},
                   {"threads", b.threads()},
                   {"products", o.at.products},
                   {"seed", em.seed},
                   {"observations", m.items()},
                   {"rows", m.y.features()},
                   {"features", m.features()},
                   {"operator", s.description.type},
                   {"observed_share", m.share},
                   {"sigma_y", s.sigma.file.empty() ? io::json(s.sigma.value) : io::json(s.sigma.file.string())},
                   {"prior", learned ? "diffusion" : "gaussian"},
                   {"rank", s.gaussian.rank},
                   {"gaussian", run.notes()},
                   {"laps", laps},
                   {"status", prior::to_string(status)},
                   {"message", message},
                   {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
    std::cout << "The " << (learned ? "diffusion" : "Gaussian") << " prior is "
              << (o.out / "prior.safetensors").string() << "; report.json and pictures are beside it\n";
    if (status != prior::em_status::rejected) return 0;
    std::cerr << "diem: a lap was rejected: " << message << '\n';
    return 1;
}

}  // namespace program
