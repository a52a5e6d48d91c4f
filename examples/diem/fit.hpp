// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <diem/backend/capabilities.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/config.hpp>
#include <diem/io/png.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/run_folder.hpp>

#include "diem/commands.hpp"
#include "diem/fit_memory.hpp"
#include "diem/fit_pictures.hpp"
#include "diem/fit_report.hpp"
#include "diem/fit_settings.hpp"
#include "diem/fit_stages.hpp"
#include "diem/outputs.hpp"
#include "diem/predictions.hpp"
#include "diem/stages.hpp"
#include "support/html_report.hpp"
#include "support/interrupt.hpp"
#include "support/memory.hpp"
#include "support/report.hpp"
#include "support/run_clock.hpp"
#include "support/terminal.hpp"
#include "support/watched_run.hpp"

namespace program {

using namespace diem;

/// A run in its folder.
template <Backend B>
class fit_run {
    using network = network_type<B>;

public:
    fit_run(B& b, const fit_command& o, fit_settings& s, const measured<B>& m) : b_(b), o_(o), s_(s), m_(m) {}

    /// Refuses a folder that holds a run, unless it is to go on or to be begun anew, and one that another process works in;
    /// what will be written there can be, and is no input.
    void prepare_folder() {
        namespace fs = std::filesystem;
        auto& files = files_.emplace("--out", o_.out);
        files.reads("the configuration", o_.config)
            .reads("\"observations\"", s_.observations)
            .reads("\"operator\"", s_.description.where)
            .reads(s_.description.where, s_.description.files())
            .reads("\"sigma_y\"", s_.sigma.file)
            .writes({"gaussian.safetensors", "prior.safetensors", "report.json", "report.html"})
            .writes(fit_writes);
        if (has_picture(m_.image)) files.writes({"observed.png", "samples_gaussian.png", "samples_diffusion.png"});
        if (has_seen(m_)) files.writes({"seen.png"});
        files.check();
        const auto checkpoint = o_.out / "checkpoint";
        files.hold();
        const bool used = fs::exists(gaussian_path()) || !prior::run_files(checkpoint).empty();
        if (used && !o_.resume && !o_.overwrite)
            throw io_error(o_.out.string() +
                           ": holds a run already; --resume goes on with it, --overwrite begins anew");
        if (used && o_.resume) check_held_out();
        if (o_.resume && (!s_.network || s_.em.laps == 0) && !prior::run_files(checkpoint).empty())
            throw io_error(o_.out.string() + ": the run in it learned a network, and " + o_.config.string() +
                           " asks for none; --overwrite begins anew");
        files.prepare();
        io::remove_leftovers(checkpoint);
        for (const auto& folder : {o_.out, checkpoint}) {
            if (!o_.overwrite || !fs::is_directory(folder)) continue;
            std::vector<fs::path> old;  // nothing of a longer run before stays beside the new one
            for (const auto& e : fs::directory_iterator(folder))
                if (fit_writes(e.path().filename().string(), folder == checkpoint)) old.push_back(e.path());
            for (const auto& file : old) fs::remove(file);
        }
    }

    /// Both stages, each gone on with where it is there.
    learn_result<B> learn(const std::optional<network>& net, const support::run_clock& clock,
                          const fit_pictures<B>& pictures, fit_report& report) {
        support::watched_run<B, network> watch(m_.items(), clock, {}, s_.em.observations_per_lap);
        auto& run = watch.run();
        run.ranks = o_.at.ranks;
        run.resume = o_.resume;
        run.save_every = o_.save_every;
        if (o_.resume && std::filesystem::exists(gaussian_path()))
            std::cout << "Gaussian prior: read from " << gaussian_path().string() << std::endl;
        fit_listener listener{.warn = warn};
        listener.gaussian = [&](const io::json& notes) {
            watch.end_bar();
            support::print_evidence(std::cout, support::evidence_of(notes, m_.items()));
        };
        listener.network = [&](double spread) { check_sigma_max(o_.config, s_.em, spread); };
        return fit_stages(b_, s_, m_, net, run, o_.out, pictures, report, listener);
    }

private:
    /// The state of a run would name other data; people gave another share.
    void check_held_out() const {
        double was = s_.held_out;
        try {
            was = support::load_run(o_.out).report.at("config").value("held_out", 0.0);
        } catch (const std::exception&) {  // no report, or not one of a run: its state will tell
        }
        if (was != s_.held_out)
            throw io_error(o_.out.string() + ": the run in it was made with \"held_out\": " + io::json(was).dump() +
                           ", now " + io::json(s_.held_out).dump());
    }
    [[nodiscard]] path gaussian_path() const { return o_.out / "gaussian.safetensors"; }

    B& b_;
    const fit_command& o_;
    fit_settings& s_;
    const measured<B>& m_;
    std::optional<outputs> files_;  ///< holds the folder
};

template <Backend B>
int fit(B& b, const fit_command& o) {
    const auto& ranks = o.at.ranks;
    auto config = io::load_config(o.config);
    if (o.held_out && config.value.is_object()) config.value["held_out"] = *o.held_out;
    auto [s, m] = read_fit(b, config, o.config.parent_path(), [&](fit_settings& settings) {
        const block_source files = keep_in_files(b, o, settings);
        auto loaded = load_measured(b, settings.observations, settings.description, settings.sigma, settings.image);
        if constexpr (HasLargeBlocks<B>)
            if (files) {
                b.large_blocks_from(least_in_files(loaded), files);
                support::give_back_memory();
            }
        return loaded;
    });
    const auto& em = s.em;
    if (const auto own = s.config.dump(); parallel::broadcast(ranks, own, 0, "configurations") != own)
        ranks.abort(o.config.string() + ": another configuration than rank 0's");
    ranks.barrier("configurations");
    std::cout << m.items() << " observations of " << m.y.features() << " values (" << s.description.type << " of "
              << m.features() << "); Gaussian of rank " << s.gaussian.ppca.rank << " in " << s.gaussian.fit.max_laps
              << " laps; " << (s.network ? "a network in " + std::to_string(em.laps) + " laps" : "no network") << "; "
              << support::describe(o.at, b.threads()) << std::endl;
    if (m.share < 1)
        std::cout << "masks leave " << support::number(100 * m.share, 1)
                  << " % of the values: data residuals of a good fit are near " << support::number(m.share)
                  << std::endl;
    if (ranks.rank() == 0) {
        warn(unseen(m, true));
        warn(scale_warnings(m, s));
        if (const auto text = support::idle_ranks(o.at, em.training.parts); s.network && !text.empty()) warn({text});
    }
    if (m.scale != 1)
        std::cout << "scale: data are divided by " << m.scale << "; samples will be in your units" << std::endl;
    fit_into_memory(o, s, m);
    double plan_bytes = 0;
    support::run_clock clock;
    std::optional<network_type<B>> net;
    if (s.network) {
        net.emplace(*s.network);
        if (const auto* unet = std::get_if<nn::unet_config>(&*s.network)) {
            const auto inside = nn::padded(*unet);
            if (inside.height != unet->height || inside.width != unet->width)
                std::cout << "the U-Net pads images of " << unet->height << " x " << unet->width << " to "
                          << inside.height << " x " << inside.width << " inside, and cuts its results back"
                          << std::endl;
        }
        const auto planned = support::with_iterations(b, em, m.observed(b));
        const auto plan = network_stage<B>::plan(b, *net, planned, m.items());
        support::print_plan(std::cout, plan, planned);
        clock = support::run_clock(em.laps, plan.sampling_seconds(), plan.training_seconds());
        const index_t of_lap = prior::observations_in_lap(em, m.items());
        const double samples = samples_bytes(m, of_lap * em.sampling.samples_per_observation);
        const bool in_files = s.description.large && samples >= static_cast<double>(least_in_files(m));
        plan_bytes = static_cast<double>(plan.bytes()) + (in_files ? 0 : samples);
    }
    if (o.memory_limit && plan_bytes > *o.memory_limit * 0x1p30)
        throw memory_error(
            "the network's stages need about " + support::gib(plan_bytes) + ", --memory-limit has " +
            support::gib(*o.memory_limit * 0x1p30) +
            "; a smaller \"em.sampler.batch\", \"em.training.micro_batch\" or \"em.observations_per_lap\" needs less");
    if (o.plan) return 0;

    fit_run<B> run(b, o, s, m);
    if (ranks.rank() == 0) run.prepare_folder();
    ranks.barrier("the folder of the results");
    const fit_pictures<B> pictures(b, ranks.rank() == 0 ? o.out : path(), m, s.pictures);
    pictures.observations();
    fit_report report(o, s, facts_of(m), b.threads());
    support::catch_interrupts();  // from here on the page says that it was stopped
    report.save("running");
    auto result = run.learn(net, clock, pictures, report);
    const bool cancelled = result.status == prior::run_status::cancelled;
    if (cancelled || (net && em.laps > 0)) std::cout << result.report << std::endl;
    if (cancelled) {
        report.save("cancelled", result.report);
        return support::interrupt_status();
    }
    if (ranks.rank() == 0) prior::save(o.out / "prior.safetensors", b, result.prior);
    if (m.held) {
        support::progress bar("held out ", static_cast<long>(predictions));
        const auto go_on = [&](index_t done, index_t) {
            bar.update(static_cast<long>(done));
            return !parallel::any_of(ranks, support::interrupted(), "whether to go on");
        };
        const bool done =
            report_predictions(report, b, result.prior, m, em.seed, &support::cancel_flag(), go_on, ranks);
        bar.finish();
        if (!done) {
            report.save("cancelled", "while held-out values were predicted");
            return support::interrupt_status();
        }
        std::cout << report.json()["held_out_values"]["words"].get<std::string>() << std::endl;
    }
    if (ranks.rank() != 0) return result.status == prior::run_status::rejected ? 1 : 0;
    const bool learned = result.prior.has_network();
    const auto status = result.status;
    report.json()["prior"] = learned ? "diffusion" : "gaussian";
    report.save(prior::to_string(status), result.report);
    report.warn("diem");
    std::cout << "The " << (learned ? "diffusion" : "Gaussian") << " prior is "
              << (o.out / "prior.safetensors").string() << "; report.html and pictures are beside it\n";
    if (status != prior::run_status::rejected) return 0;
    std::cerr << "diem: a lap was rejected: " << result.report << '\n';
    return 1;
}

}  // namespace program
