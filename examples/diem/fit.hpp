// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <iostream>
#include <string>
#include <utility>

#include <diem/io/png.hpp>
#include <diem/prior/files.hpp>

#include "diem/commands.hpp"
#include "diem/fit_settings.hpp"
#include "diem/stages.hpp"
#include "support/report.hpp"
#include "support/watched_run.hpp"

namespace program {

using namespace diem;

/// A run in its folder.
template <Backend B>
class fit_run {
    using network = model::any_network<B>;

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

    /// Fitted, or gone on with where it is there.
    learn_result<B> first_stage() {
        support::watched_run<B, network> watch(m_.items());
        set_up(watch.run(), o_.out);
        if (o_.resume && std::filesystem::exists(gaussian_path()))
            std::cout << "Gaussian prior: read from " << gaussian_path().string() << std::endl;
        auto fitted = gaussian_stage<B>::fit(b_, s_.gaussian, m_, watch.run());
        notes_ = fitted.prior.notes;
        add_image(fitted.prior);
        support::print_evidence(std::cout, support::evidence_of(notes_, m_.items()));
        return fitted;
    }
    learn_result<B> second_stage(learned_prior<B> start, const network& net) {
        support::watched_run<B, network> watch(
            m_.items(), [&](const prior::lap_diagnostics& d, const_view_t<B> x, const learned_prior<B>& next) {
                if (!m_.image) return;
                picture("lap_" + std::to_string(d.lap) + ".png", next);
                picture("lap_" + std::to_string(d.lap) + "_posterior.png", x.item_range(0, shown(x.items())));
            });
        set_up(watch.run(), o_.out / "checkpoint");
        start.notes = io::json::object();
        add_image(start);
        return network_stage<B>::fit(b_, std::move(start), net, m_, s_.em, watch.run());
    }
    void picture(const std::string& name, const learned_prior<B>& prior) const {
        if (!m_.image) return;
        batch<B> x(b_, m_.features(), s_.pictures);
        network_stage<B>::draw(b_, prior, {.seed = 17}, x.view());
        picture(name, x.cview());
    }
    void picture(const std::string& name, const_view_t<B> x) const {
        io::save_png(o_.out / name, support::picture_row(b_, x, *m_.image, scale_of(*m_.image)));
    }
    [[nodiscard]] const io::json& notes() const { return notes_; }

private:
    [[nodiscard]] index_t shown(index_t items) const { return std::min(s_.pictures, items); }
    void set_up(prior::run<B>& run, const path& folder) const {
        run.folder = folder;
        run.resume = o_.resume;
    }
    void add_image(learned_prior<B>& prior) const {
        if (m_.image) prior.notes["image"] = {m_.image->height, m_.image->width, m_.image->channels};
    }
    [[nodiscard]] path gaussian_path() const { return o_.out / "gaussian.safetensors"; }

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
    const auto& em = s.em;
    std::cout << m.items() << " observations of " << m.y.features() << " values (" << s.description.type << " of "
              << m.features() << "); Gaussian of rank " << s.gaussian.ppca.rank << " in " << s.gaussian.fit.max_laps
              << " laps; " << (s.network ? "a network in " + std::to_string(em.laps) + " laps" : "no network") << "; "
              << support::describe(o.at, b.threads()) << std::endl;
    if (m.share < 1)
        std::cout << "masks leave " << support::number(100 * m.share, 1)
                  << " % of the values: data residuals of a good fit are near " << support::number(m.share)
                  << std::endl;
    std::optional<model::any_network<B>> net;
    if (s.network) {
        net.emplace(*s.network);
        support::print_plan(std::cout, network_stage<B>::plan(b, *net, em, m.items()), em);
    }
    if (o.plan) return 0;

    fit_run<B> run(b, o, s, m);
    run.prepare_folder();
    save_observed(b, o.out / "observed.png", m, std::min(s.pictures, m.items()));
    auto result = run.first_stage();
    if (result.status == prior::run_status::cancelled) {
        std::cout << result.report << std::endl;
        return 130;
    }
    batch<B> x(b, m.features(), 64);
    prior::sample(b, result.prior, {.seed = 17}, x.view());
    warn_of_range(b, x);
    run.picture("samples_gaussian.png", result.prior);
    if (net && em.laps > 0) {
        result = run.second_stage(std::move(result.prior), *net);
        std::cout << result.report << std::endl;
        if (result.status == prior::run_status::cancelled) return 130;
        if (result.prior.has_network()) run.picture("samples_diffusion.png", result.prior);
    }
    const bool learned = result.prior.has_network();
    const auto status = result.status;
    prior::save(o.out / "prior.safetensors", b, result.prior);
    io::json laps = io::json::array();
    for (const auto& d : result.prior.history) laps.push_back(prior::to_json(d));
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
                   {"rank", s.gaussian.ppca.rank},
                   {"gaussian", run.notes()},
                   {"laps", laps},
                   {"status", prior::to_string(status)},
                   {"message", result.report},
                   {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
    std::cout << "The " << (learned ? "diffusion" : "Gaussian") << " prior is "
              << (o.out / "prior.safetensors").string() << "; report.json and pictures are beside it\n";
    if (status != prior::run_status::rejected) return 0;
    std::cerr << "diem: a lap was rejected: " << result.report << '\n';
    return 1;
}

}  // namespace program
