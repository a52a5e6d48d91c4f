// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
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
#include <diem/prior/learn.hpp>

#include "support/html_report.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/interrupt.hpp"
#include "support/lap_log.hpp"
#include "support/masked_images.hpp"
#include "support/place.hpp"
#include "support/plan.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/watched_run.hpp"

namespace support {

/// A study of masked images, from a Gaussian to a diffusion prior, with each judged on images held out.
struct study_settings {
    std::string program;
    std::filesystem::path out;
    place at;
    bool resume = false, plan_only = false;
    double keep = 0.25, sigma_y = 1e-2;
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
};

template <diem::Backend B, class Net>
class image_study {
    using prior_type = diem::prior::learned<B, Net>;

public:
    /// `free_figures`: of unconditional samples, as JSON.
    using figures_function = std::function<diem::io::json(diem::const_view_t<B>)>;

    image_study(B& b, study_settings s, masked_images<B> train, masked_images<B> held_out,
                figures_function free_figures)
        : b_(b), s_(std::move(s)), train_(std::move(train)), held_out_(std::move(held_out)),
          free_figures_(std::move(free_figures)), laps_(s_.out / "laps.json") {
        s_.gaussian_observations = std::min(s_.gaussian_observations, train_.items());
    }

    /// Both stages, tables, pictures and report.json; `network`: null for the Gaussian alone. The exit status.
    int run(const Net* network) {
        std::cout << train_.items() << " images with " << number(100 * (1 - s_.keep), 0)
                  << " % of their pixels deleted, noise " << s_.sigma_y << " in [-2, 2]; " << held_out_.items()
                  << " held out; Gaussian of rank " << s_.gaussian.ppca.rank << " from " << s_.gaussian_observations
                  << " of them in " << s_.gaussian.fit.max_laps << " laps; " << describe(s_.at, b_.threads())
                  << std::endl;
        if (network != nullptr) {
            diem::prior::check_em(s_.em);
            if (s_.plan_only || s_.em.laps > 0) plan(*network);
        }
        if (s_.plan_only) return 0;
        report_["prior"] = network != nullptr && s_.em.laps > 0 ? "diffusion" : "gaussian";
        save_report("running");
        baselines();
        auto learned = gaussian();
        if (!learned) return cancelled();
        if (network != nullptr && s_.em.laps > 0) {
            auto result = diffusion(*network, std::move(*learned));
            if (status_ == diem::prior::run_status::cancelled) return cancelled();
            if (result.has_network()) judge("diffusion", result, {});
        }
        save_report(diem::prior::to_string(status_));
        print();
        return status_ == diem::prior::run_status::completed ? 0 : 1;
    }

private:
    [[nodiscard]] double elapsed() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    void plan(const Net& network) const {
        diem::model::preconditioned<B, Net> model(b_, Net(network.config()));
        model.initialize(b_, {.seed = s_.seed});
        print_plan(std::cout, plan_em(b_, model, s_.em, train_.items()), s_.em);
    }
    /// Figures that need no prior.
    void baselines() {
        const auto means = observed_means(b_, train_);
        const std::vector<float> zeros(means.size(), 0.0F);
        add("deleted pixels zero", "psnr_zero_fill_db", psnr(b_, filled(b_, held_out_, zeros), truth()));
        add("deleted pixels at their mean", "psnr_mean_fill_db", psnr(b_, filled(b_, held_out_, means), truth()));
    }
    std::optional<prior_type> gaussian() {
        watched_run<B, Net> watch(s_.gaussian_observations);
        watch.run().folder = s_.out / "checkpoint";
        watch.run().resume = s_.resume;
        watch.run().overwrite = !s_.resume;
        const auto observed = train_.observed(b_).items(0, s_.gaussian_observations);
        auto result = diem::prior::learn_gaussian(b_, observed, s_.gaussian, watch.run());
        if (result.status == diem::prior::run_status::cancelled) {
            std::cout << result.report << std::endl;
            return std::nullopt;
        }
        const auto& g = *result.prior.estimate();
        report_["gaussian_laps"] = result.prior.notes.at("laps");
        report_["gaussian_seconds"] = elapsed();
        auto evidence = evidence_of(result.prior.notes, s_.gaussian_observations);
        const auto each = [&](const auto& seen) {
            return diem::prior::log_evidence(b_, g, seen) / static_cast<double>(seen.items());
        };
        const double unseen = each(held_out_.observed(b_));
        evidence.push_back(each(observed));
        print_evidence(std::cout, evidence);
        std::cout << "held out: " << number(unseen, 3) << '\n' << std::endl;
        report_["log_evidence_per_observation"] = evidence;
        report_["log_evidence_held_out"] = unseen;
        judge("gaussian", result.prior, s_.gaussian_mmps);
        diem::batch<B> exact(b_, g.features(), held_out_.items());
        diem::prior::posterior_means(b_, g, held_out_.observed(b_), exact.view());
        add("gaussian: exact posterior mean", "psnr_exact_gaussian_mean_db", psnr(b_, exact, truth()));
        return std::move(result.prior);
    }
    prior_type diffusion(const Net& network, prior_type start) {
        if (s_.resume) laps_.restore(s_.em.laps);
        std::vector<image> prior_rows, posterior_rows;
        watched_run<B, Net> watch(train_.items(), [&](const auto& d, diem::const_view_t<B> x, const prior_type& next) {
            const auto free = unconditional(next);
            const auto name = "lap_" + std::to_string(d.lap);
            const auto drawn = x.item_range(0, std::min(s_.pictures, x.items()));
            prior_rows.push_back(row(free.cview().item_range(0, s_.pictures)));
            posterior_rows.push_back(row(drawn));
            diem::io::save_png(s_.out / (name + ".png"), prior_rows.back());
            diem::io::save_png(s_.out / (name + "_posterior.png"), posterior_rows.back());
            auto entry = diem::prior::to_json(d);
            if (s_.free_samples > 1) entry.update(free_figures_(free.cview()));
            laps_.add(std::move(entry));
            save_report("running");
        });
        watch.run().folder = s_.out / "checkpoint";
        watch.run().resume = s_.resume;
        watch.run().overwrite = !s_.resume;
        start.notes = {{"image", {train_.shape.height, train_.shape.width, train_.shape.channels}}};
        auto result =
            diem::prior::fit_diffusion(b_, std::move(start), network, train_.observed(b_), s_.em, watch.run());
        std::cout << result.report << std::endl;
        status_ = result.status;
        if (!prior_rows.empty()) {
            diem::io::save_png(s_.out / "laps.png", stack(every_other(prior_rows)));
            diem::io::save_png(s_.out / "laps_posterior.png", stack(every_other(posterior_rows)));
        }
        return std::move(result.prior);
    }
    /// Rows 0, 1, 2, 4, 8, ... and the last.
    [[nodiscard]] static std::vector<image> every_other(const std::vector<image>& rows) {
        std::vector<image> some;
        for (std::size_t k = 0; k < rows.size(); k = k == 0 ? 1 : 2 * k) some.push_back(rows[k]);
        const auto last = rows.size() - 1;
        if ((last & (last - 1)) != 0) some.push_back(rows.back());
        return some;
    }

    /// Figures and pictures of one prior; `mmps`: other than its own.
    void judge(const std::string& name, const prior_type& prior,
               const std::optional<diem::posterior::mmps_options>& mmps) {
        auto how = prior.sample_options(b_);
        how.sampling = s_.judged;
        if (mmps) how.mmps = *mmps;
        diem::batch<B> x;
        const auto figures = sample_held_out(b_, prior, held_out_, how, s_.seed + 3, x, name);
        save_posterior_picture(b_, s_.out / ("posterior_" + name + ".png"), held_out_, x.cview(),
                               std::min(s_.pictures, held_out_.items()), s_.scale);
        const auto free = unconditional(prior);
        const diem::index_t shown = std::min<diem::index_t>(4 * s_.pictures, free.items());
        diem::io::save_png(s_.out / ("samples_" + name + ".png"),
                           picture_row(b_, free.cview().item_range(0, shown), train_.shape, s_.scale, {},
                                       std::min(s_.pictures, shown)));
        diem::io::json stage{{"stage", name},
                             {"psnr_sample_db", figures.sample},
                             {"psnr_mean_db", figures.mean},
                             {"data_residual", figures.diagnostics.data_residual},
                             {"outside_share", figures.diagnostics.outside_share},
                             {"solver_shares", figures.diagnostics.solver_shares},
                             {"seconds", figures.diagnostics.e_seconds}};
        rows_.push_back({name + ": one posterior sample", number(figures.sample)});
        rows_.push_back({name + ": mean of " + std::to_string(s_.judged.samples_per_observation) + " samples",
                         number(figures.mean)});
        if (s_.free_samples > 1) {
            stage.update(free_figures_(free.cview()));
            for (const auto& [key, title] : s_.figure_names)
                if (stage.contains(key))
                    rows_.push_back({name + ": " + title, number(stage[key].template get<double>(), 3)});
        }
        stages_.push_back(std::move(stage));
    }
    /// By reversing the diffusion, of any prior; always with the same random numbers.
    [[nodiscard]] diem::batch<B> unconditional(const prior_type& prior) const {
        diem::batch<B> x(b_, prior.features(), std::max(s_.free_samples, s_.pictures));
        diem::diffusion::sample(b_, prior, s_.free, prior.mean(), {.seed = s_.free_seed}, x.view());
        return x;
    }
    [[nodiscard]] image row(diem::const_view_t<B> x) const { return picture_row(b_, x, train_.shape, s_.scale); }
    [[nodiscard]] diem::const_view_t<B> truth() const { return held_out_.truth.cview(); }
    void add(const std::string& title, const std::string& key, double value) {
        rows_.push_back({title, number(value)});
        report_[key] = value;
    }

    void print() const {
        std::cout << "\nPSNR of " << held_out_.items() << " held-out images, dB (range 4), and figures of "
                  << s_.free_samples << " unconditional samples\n";
        print_table(std::cout, {"", ""}, rows_);
        std::cout << "\n"
                  << number(elapsed(), 1) << " s. Pictures, report.json and report.html are in "
                  << std::filesystem::absolute(s_.out).string()
                  << "\n  posterior_*.png           rows: observed, one sample, mean of the samples, truth\n"
                     "  samples_*.png             unconditional samples\n"
                     "  laps.png, laps_posterior.png   samples along the laps of the diffusion prior\n";
    }
    int cancelled() {
        save_report("cancelled");
        return interrupt_status();
    }
    /// As the run goes on, too.
    void save_report(const std::string& status) {
        report_.update({{"program", s_.program},
                        {"environment", environment()},
                        {"backend", s_.at.backend},
                        {"threads", b_.threads()},
                        {"products", s_.at.products},
                        {"seed", s_.seed},
                        {"observations", train_.items()},
                        {"held_out", held_out_.items()},
                        {"keep", s_.keep},
                        {"sigma_y", s_.sigma_y},
                        {"gaussian", diem::prior::settings_json(s_.gaussian)},
                        {"em", diem::prior::settings_json(s_.em)},
                        {"rank", s_.gaussian.ppca.rank},
                        {"gaussian_observations", s_.gaussian_observations},
                        {"laps", laps_.entries()},
                        {"features", train_.truth.features()},
                        {"image", {train_.shape.height, train_.shape.width, train_.shape.channels}},
                        {"operator", "mask"},
                        {"status", status},
                        {"stages", stages_},
                        {"seconds", elapsed()}});
        support::save_report(s_.out, report_);
    }

    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    B& b_;
    study_settings s_;
    masked_images<B> train_, held_out_;
    figures_function free_figures_;
    lap_log laps_;
    diem::io::json report_ = diem::io::json::object(), stages_ = diem::io::json::array();
    std::vector<std::vector<std::string>> rows_;
    diem::prior::run_status status_ = diem::prior::run_status::completed;
};

}  // namespace support
