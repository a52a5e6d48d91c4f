// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/io/png.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/prior/gaussian_innovation.hpp>
#include <diem/prior/learn.hpp>

#include "support/html_report.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/interrupt.hpp"
#include "support/lap_log.hpp"
#include "support/masked_images.hpp"
#include "support/outputs.hpp"
#include "support/place.hpp"
#include "support/plan.hpp"
#include "support/posterior_figures.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/run_clock.hpp"
#include "support/study_stages.hpp"
#include "support/watched_run.hpp"

namespace support {

/// A study of images that were observed in part, from a Gaussian to a diffusion prior, with each judged on images held out.
struct study_settings {
    std::string program;
    std::filesystem::path out;
    std::vector<std::pair<std::string, std::filesystem::path>>
        inputs;  ///< files by their options, which must not be overwritten
    place at;
    bool resume = false, plan_only = false;
    double sigma_y = 1e-2;
    std::string observed;                             ///< what the observations are, in words
    std::string operator_name = "mask";               ///< in the report
    diem::io::json facts = diem::io::json::object();  ///< further entries of the report
    std::uint64_t seed = 0;
    diem::index_t gaussian_observations = 0;  ///< the first so many
    diem::prior::gaussian_fit_options gaussian{};
    diem::prior::em_options em{};
    /// Of the judged posterior samples, of all priors; those of the Gaussian prior are solved by `gaussian_mmps`.
    diem::diffusion::sampling_options judged{};
    diem::posterior::mmps_options gaussian_mmps{};
    diem::diffusion::sampling_options free{};  ///< of unconditional samples
    diem::index_t free_samples = 0, pictures = 16, scale = 2;
    std::uint64_t free_seed = 17;
    std::vector<std::pair<std::string, std::string>> figure_names;  ///< keys of `free_figures`, their names in tables
    /// Values are brought to [-2, 2] before figures are taken, and PSNR is the mean over images; beside it structural similarity, how
    /// often intervals of the samples hold the truth, and a row of standard deviations in pictures.
    bool full_figures = false;
};

/// What command and configuration say of a study; all priors of it are sampled alike, so that they compare.
[[nodiscard]] inline study_settings study_of(std::string program, const study_command& o, const stage_settings& c) {
    study_settings s;
    s.program = std::move(program);
    s.out = o.out;
    s.inputs = {{"--config", o.config}, {"--data", o.data}};
    s.at = o.at;
    s.resume = o.resume;
    s.plan_only = o.plan_only;
    s.sigma_y = c.sigma_y;
    s.seed = c.seed;
    s.gaussian_observations = c.gaussian_observations;
    s.gaussian = c.gaussian;
    s.gaussian.seed = c.seed;
    s.em = c.em;
    s.judged = c.network ? c.em.sampling : c.gaussian.sampling;
    if (!c.network) s.judged.sampler = diem::diffusion::sampler_choice::ddpm;
    s.gaussian_mmps = c.gaussian.mmps;
    return s;
}

/// `Images`: what is observed, as `masked_images`.
template <diem::Backend B, class Net, class Images = masked_images<B>>
class image_study {
    using prior_type = diem::prior::learned<B, Net>;

public:
    /// `free_figures`: of unconditional samples, as JSON.
    using figures_function = std::function<diem::io::json(diem::const_view_t<B>)>;

    /// `held_out`: sets to restore, each with a name for tables ("": none).
    image_study(B& b, study_settings s, Images train, std::vector<std::pair<std::string, Images>> held_out,
                figures_function free_figures)
        : b_(b), s_(std::move(s)), train_(std::move(train)), held_out_(std::move(held_out)),
          free_figures_(std::move(free_figures)), laps_(s_.out / "laps.json"),
          report_(writes() ? s_.out : std::filesystem::path(), s_.facts) {
        s_.gaussian_observations = std::min(s_.gaussian_observations, train_.items());
        s_.gaussian.height = train_.shape.height;
        s_.gaussian.width = train_.shape.width;
        s_.gaussian.channels = train_.shape.channels;
    }

    /// Both stages, tables, pictures and report.json; `network`: null for the Gaussian alone. The exit status.
    int run(const Net* network) {
        std::cout << train_.items() << ' ' << s_.observed << ", noise " << s_.sigma_y << " in [-2, 2]; "
                  << held_out_.front().second.items() << " held out; Gaussian of rank " << s_.gaussian.ppca.rank
                  << " from " << s_.gaussian_observations << " of them in " << s_.gaussian.fit.max_laps << " laps; "
                  << describe(s_.at, b_.threads()) << std::endl;
        if (network != nullptr) {
            diem::prior::check_em(s_.em);
            diem::prior::check_mixture(s_.em.mixture, train_.truth.features(),
                                       diem::prior::observations_in_lap(s_.em, train_.items()), s_.gaussian.basis);
            if (s_.plan_only || s_.em.laps > 0) plan(*network);
            if (const auto text = idle_ranks(s_.at, s_.em.training.parts); !text.empty())
                std::cerr << s_.program << ": warning: " << text << '\n';
        }
        if (s_.plan_only) {
            if (network == nullptr) std::cout << "Plan: no network, the Gaussian alone" << std::endl;
            return 0;
        }
        outputs files("--out", s_.out);
        for (const auto& [option, path] : s_.inputs) files.reads(option, path);
        files.writes({"report.json", "report.html", "laps.json", "laps.png"});
        if (writes()) files.prepare();
        begin_report(network != nullptr && s_.em.laps > 0 ? "diffusion" : "gaussian");
        catch_interrupts();  // from here on the page says that it was stopped
        save_report("running");
        for (const auto& [name, images] : held_out_)
            for (const auto& [title, key, x] : images.baselines(b_, train_)) {
                report_.json()[keyed(key, name)] = tell(titled(title, name), compare(x.cview(), images));
            }
        auto learned = gaussian();
        if (!learned) return cancelled();
        if (network != nullptr && s_.em.laps > 0) {
            auto result = diffusion(*network, std::move(*learned));
            if (status_ == diem::prior::run_status::cancelled) return cancelled();
            if (result.has_network()) judge("diffusion", result, {});
        }
        save_report(diem::prior::to_string(status_));
        if (writes()) report_.warn(s_.program);
        print();
        return status_ == diem::prior::run_status::completed ? 0 : 1;
    }

private:
    /// Of several ranks one alone; drawing is shared by all, and the rest all do alike.
    [[nodiscard]] bool writes() const { return s_.at.ranks.rank() == 0; }
    void keep(const std::string& name, const image& picture) const {
        if (writes()) diem::io::save_png(s_.out / name, picture);
    }
    void plan(const Net& network) {
        const auto cost = say_plan(std::cout, b_, network, s_.em, train_.observed(b_), train_.items());
        clock_ = run_clock(s_.em.laps, cost.sampling_seconds(), cost.training_seconds());
    }
    void keep_in_folder(diem::prior::run<B, Net>& run) const {
        run.folder = s_.out / "checkpoint";
        run.resume = s_.resume;
        run.overwrite = !s_.resume;
        run.ranks = s_.at.ranks;
    }
    std::optional<prior_type> gaussian() {
        watched_run<B, Net> watch(s_.gaussian_observations, clock_);
        keep_in_folder(watch.run());
        const auto observed = train_.observed(b_).items(0, s_.gaussian_observations);
        auto result = diem::prior::learn_gaussian(b_, observed, s_.gaussian, watch.run());
        if (result.status == diem::prior::run_status::cancelled) {
            std::cout << result.report << std::endl;
            return std::nullopt;
        }
        const auto& g = *result.prior.estimate();
        report_.json()["gaussian_laps"] = result.prior.notes.at("laps");
        report_.json()["gaussian_seconds"] = report_.seconds();
        if constexpr (Images::closed_form)
            if (!g.basis()) {
                auto evidence = evidence_of(result.prior.notes, s_.gaussian_observations);
                const auto each = [&](const auto& seen) {
                    return diem::prior::log_evidence(b_, g, seen) / static_cast<double>(seen.items());
                };
                const double unseen = each(held_out_.front().second.observed(b_));
                evidence.push_back(each(observed));
                print_evidence(std::cout, evidence);
                std::cout << "held out: " << number(unseen, 3) << '\n' << std::endl;
                report_.json()["log_evidence_per_observation"] = evidence;
                report_.json()["log_evidence_held_out"] = unseen;
            }
        judge("gaussian", result.prior, s_.gaussian_mmps);
        for (const auto& [name, images] : held_out_) {
            diem::batch<B> exact(b_, g.features(), images.items());
            gaussian_means(g, images, exact.view());
            report_.json()[keyed("psnr_exact_gaussian_mean_db", name)] =
                tell(titled("gaussian: exact posterior mean", name), compare(exact.cview(), images));
        }
        return std::move(result.prior);
    }
    /// E[x | y] under a Gaussian: its closed form, or by solves.
    void gaussian_means(const diem::diffusion::gaussian<B>& g, const Images& images, diem::view_t<B> means) {
        if constexpr (Images::closed_form)
            if (!g.basis()) return diem::prior::posterior_means(b_, g, images.observed(b_), means);
        if (g.basis())
            if (const auto seen = diem::posterior::basis_observation<B>::make(b_, images.observed(b_), *g.basis())) {
                diem::prior::posterior_means(b_, g.coefficients(b_), seen->observed(b_), means);
                return g.basis()->apply_adjoint(b_, diem::const_view_t<B>(means), means);
            }
        const auto counts = diem::prior::corrected_means(b_, g, images.observed(b_), means, s_.judged.batch);
        const auto converged = counts[static_cast<std::size_t>(diem::solver::solver_status::converged)];
        const auto open = static_cast<double>(images.items()) - static_cast<double>(converged);
        if (open > 0) std::cout << "of them not exact, as the solve did not converge: " << open << std::endl;
    }
    prior_type diffusion(const Net& network, prior_type start) {
        if (s_.resume && writes()) laps_.restore(s_.em.laps);
        watched_run<B, Net> watch(
            train_.items(), clock_,
            [&](const auto& d, diem::const_view_t<B> x, const prior_type& next) {
                const auto free = unconditional(next);
                const auto name = "lap_" + std::to_string(d.lap);
                const auto drawn = x.item_range(0, std::min(s_.pictures, x.items()));
                if (!writes()) return;
                keep(name + ".png", row(free.cview().item_range(0, s_.pictures)));
                keep(name + "_posterior.png", row(drawn));
                auto entry = diem::prior::to_json(d);
                if (s_.free_samples > 1) entry.update(free_figures_(free.cview()));
                laps_.add(std::move(entry));
                save_report("running");
            },
            s_.em.observations_per_lap);
        keep_in_folder(watch.run());
        start.notes = {{"image", {train_.shape.height, train_.shape.width, train_.shape.channels}}};
        auto result =
            diem::prior::fit_diffusion(b_, std::move(start), network, train_.observed(b_), s_.em, watch.run());
        std::cout << result.report << std::endl;
        status_ = result.status;
        for (const std::string kind : {"", "_posterior"}) keep_strip(kind);
        return std::move(result.prior);
    }
    /// The pictures of laps 0, 1, 2, 4, 8, ... and of the last one, one under the other: as they lie in the folder, also those
    /// of laps before the run was resumed.
    void keep_strip(const std::string& kind) {
        if (!writes()) return;
        const std::size_t laps = laps_.entries().size();
        std::vector<image> rows;
        for (std::size_t k = 0; k < laps; ++k) {
            const auto path = s_.out / ("lap_" + std::to_string(k) + kind + ".png");
            if (((k & (k - 1)) != 0 && k + 1 < laps) || !std::filesystem::exists(path)) continue;
            const auto values = diem::io::load_png(path);
            if (!rows.empty() && rows.back().shape != values.shape) rows.clear();  // of other settings
            rows.emplace_back(values.shape);
            std::transform(values.data.begin(), values.data.end(), rows.back().data.begin(),
                           [](float v) { return static_cast<std::uint8_t>(v); });
        }
        if (!rows.empty()) keep("laps" + kind + ".png", stack(rows));
    }

    /// Figures and pictures of one prior on each held-out set; `mmps`: other than its own.
    void judge(const std::string& prior_name, const prior_type& prior,
               const std::optional<diem::posterior::mmps_options>& mmps) {
        for (const auto& [set, images] : held_out_) judge(prior_name, set, images, prior, mmps);
        const auto free = unconditional(prior);
        const diem::index_t count = std::min<diem::index_t>(4 * s_.pictures, free.items());
        keep("samples_" + prior_name + ".png", picture_row(b_, free.cview().item_range(0, count), train_.shape,
                                                           s_.scale, {}, std::min(s_.pictures, count)));
        if (s_.free_samples > 1 && writes()) {
            auto& stage = stages_[stages_.size() - held_out_.size()];
            stage.update(free_figures_(free.cview()));
            for (const auto& [key, title] : s_.figure_names)
                if (stage.contains(key))
                    rows_.push_back({prior_name + ": " + title, number(stage[key].template get<double>(), 3), ""});
        }
    }
    void judge(const std::string& prior_name, const std::string& set, const Images& images, const prior_type& prior,
               const std::optional<diem::posterior::mmps_options>& mmps) {
        auto how = prior.sample_options(b_);
        how.sampling = s_.judged;
        if (mmps) how.mmps = *mmps;
        const auto name = titled(prior_name, set);
        diem::batch<B> x;
        const auto figures = sample_held_out(b_, prior, images, how, s_.seed + 3, x, name, s_.at.ranks);
        if (!writes()) return;
        const diem::index_t n = images.items();
        const auto file = keyed("posterior_" + prior_name, set) + ".png";
        const auto mean = mean_of_samples(b_, x.cview(), n);
        save_posterior_picture(b_, s_.out / file, images, x.cview(), mean.cview(), std::min(s_.pictures, n), s_.scale,
                               s_.full_figures);
        auto& pictures = report_.json()["pictures"];
        pictures.insert(
            pictures.begin(),
            diem::io::json::object(
                {{"file", file},
                 {"group", "Posterior samples"},
                 {"title", "With the " + titled((prior_name == "gaussian" ? "Gaussian" : prior_name) + " prior", set)},
                 {"caption", "Rows: " + (Images::pictured + (", " + rows_of_pictures()))}}));
        const auto one = compare(x.cview().item_range(0, n), images), all = compare(mean.cview(), images);
        diem::io::json stage{{"stage", name},
                             {"prior", prior_name},
                             {"set", set},
                             {"psnr_sample_db", one.psnr},
                             {"psnr_mean_db", all.psnr},
                             {"data_residual", figures.data_residual},
                             {"outside_share", figures.outside_share},
                             {"solver_shares", figures.solver_shares},
                             {"seconds", figures.e_seconds}};
        if (s_.full_figures) {
            stage.update({{"ssim_sample", *one.ssim}, {"ssim_mean", *all.ssim}});
            if (s_.judged.samples_per_observation > 1)
                stage["coverage"] = coverage_of_samples(b_, x.cview(), images.truth.cview());
        }
        tell(name + ": one posterior sample", one);
        tell(name + ": mean of " + std::to_string(s_.judged.samples_per_observation) + " samples", all);
        stages_.push_back(std::move(stage));
        save_report("running");
    }
    /// PSNR is of all values together, or with `full_figures` its mean over images.
    [[nodiscard]] restoration compare(diem::const_view_t<B> x, const Images& images) const {
        const auto truth = images.truth.cview();
        if (!s_.full_figures) return {psnr(b_, x, truth)};
        return mean_restoration(b_, clipped(b_, x).cview(), truth, images.shape);
    }
    /// A row of the table; returns the PSNR.
    double tell(std::string title, const restoration& r) {
        rows_.push_back({std::move(title), number(r.psnr), r.ssim ? number(*r.ssim, 3) : ""});
        return r.psnr;
    }
    [[nodiscard]] static std::string titled(const std::string& title, const std::string& set) {
        return set.empty() ? title : title + ", " + set;
    }
    /// "key_R_4" of the set "R = 4".
    [[nodiscard]] static std::string keyed(std::string key, const std::string& set) {
        bool gap = true;
        for (const char c : set) {
            const bool part = c != ' ' && c != '=';
            if (part && gap) key += '_';
            if (part) key += c;
            gap = !part;
        }
        return key;
    }
    [[nodiscard]] std::string rows_of_pictures() const {
        return std::string("one sample, mean of the samples, ") +
               (s_.full_figures ? "their standard deviation (white: 1), truth" : "truth");
    }
    /// By reversing the diffusion, of any prior, shared by the ranks; always with the same random numbers.
    [[nodiscard]] diem::batch<B> unconditional(const prior_type& prior) const {
        diem::batch<B> x(b_, prior.features(), std::max(s_.free_samples, s_.pictures));
        diem::diffusion::sample(b_, prior, s_.free, {prior.mean(), prior.estimate()}, {.seed = s_.free_seed}, x.view(),
                                nullptr, s_.at.ranks);
        return x;
    }
    [[nodiscard]] image row(diem::const_view_t<B> x) const { return picture_row(b_, x, train_.shape, s_.scale); }
    void print() const {
        std::cout << "\nPSNR of " << held_out_.front().second.items() << " held-out images, dB (range 4)";
        if (s_.full_figures) std::cout << ", and structural similarity";
        if (s_.free_samples > 1) std::cout << ", and figures of " << s_.free_samples << " unconditional samples";
        std::cout << '\n';
        auto rows = rows_;
        if (!s_.full_figures)
            for (auto& r : rows) r.pop_back();
        print_table(std::cout, std::vector<std::string>(rows.front().size()), rows);
        std::cout << "\n"
                  << number(report_.seconds(), 1) << " s. Pictures, report.json and report.html are in "
                  << std::filesystem::absolute(s_.out).string() << "\n  posterior_*.png           rows: observed, "
                  << rows_of_pictures()
                  << "\n"
                     "  samples_*.png             unconditional samples\n"
                     "  laps.png, laps_posterior.png   samples along the laps of the diffusion prior\n";
    }
    int cancelled() {
        save_report("cancelled");
        return interrupt_status();
    }
    void begin_report(const char* prior) {
        report_.json().update({{"program", s_.program},
                               {"prior", prior},
                               {"backend", s_.at.backend},
                               {"threads", b_.threads()},
                               {"ranks", s_.at.ranks.size()},
                               {"products", s_.at.products},
                               {"seed", s_.seed},
                               {"observations", train_.items()},
                               {"held_out", held_out_.front().second.items()},
                               {"sigma_y", s_.sigma_y},
                               {"gaussian", diem::prior::settings_json(s_.gaussian)},
                               {"em", diem::prior::settings_json(s_.em)},
                               {"rank", s_.gaussian.ppca.rank},
                               {"gaussian_observations", s_.gaussian_observations},
                               {"features", train_.truth.features()},
                               {"image", {train_.shape.height, train_.shape.width, train_.shape.channels}},
                               {"operator", s_.operator_name},
                               {"pictures", diem::io::json::array()}});
    }
    /// As the run goes on, too.
    void save_report(const std::string& status) {
        report_.json().update({{"laps", laps_.entries()}, {"stages", stages_}});
        report_.save(status);
    }

    B& b_;
    study_settings s_;
    Images train_;
    std::vector<std::pair<std::string, Images>> held_out_;
    figures_function free_figures_;
    lap_log laps_;
    run_report report_;
    run_clock clock_;  ///< before the first lap
    diem::io::json stages_ = diem::io::json::array();
    std::vector<std::vector<std::string>> rows_;
    diem::prior::run_status status_ = diem::prior::run_status::completed;
};

}  // namespace support
