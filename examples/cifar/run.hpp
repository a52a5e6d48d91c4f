// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/json.hpp>
#include <diem/io/png.hpp>
#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/prior/diffusion_em.hpp>

#include "cifar/program.hpp"
#include "support/cifar_files.hpp"
#include "support/diffusion_stage.hpp"
#include "support/gaussian_stage.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/lap_log.hpp"
#include "support/masked_images.hpp"
#include "support/plan.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/sample_figures.hpp"

namespace cifar {

using namespace diem;

inline constexpr support::image_shape shape{32, 32, 3};

/// The program on a backend; `wide` is one in double precision, for figures.
template <Backend B, Backend Wide>
class pipeline {
    using gaussian = diffusion::gaussian<B>;
    using network = model::preconditioned<B, nn::unet<B>>;

public:
    pipeline(B& b, Wide& wide, const support::cifar_settings& s, const program_options& o)
        : b_(b), s_(s), o_(o), train_(masked(io::cifar10_train_files(o.data), s.observations, 0)),
          test_(masked(io::cifar10_test_files(o.data), s.evaluation.images, 1)), laps_(o.out / "laps.json") {
        if (const index_t count = s.evaluation.free_samples; count > 1)
            real_.emplace(
                b, wide,
                support::load_cifar(b, io::cifar10_test_files(o.data), std::max(s.evaluation.images, 4 * count)).x,
                o.classifier);
    }

    /// The exit status.
    int run() {
        std::cout << train_.items() << " images with " << support::number(100 * (1 - s_.keep), 0)
                  << " % of their pixels deleted, noise " << s_.sigma_y << " in [-2, 2]; Gaussian of rank "
                  << s_.gaussian.rank << " from " << s_.gaussian.observations << " of them in " << s_.gaussian.laps
                  << " laps; " << support::describe(o_.at, b_.threads()) << std::endl;
        const auto means = support::observed_means(b_, train_);
        const double mean_fill = support::psnr(b_, support::filled(b_, test_, means), test_.truth.cview());
        const double zero_fill =
            support::psnr(b_, support::filled(b_, test_, std::vector<float>(means.size(), 0.0F)), test_.truth.cview());

        auto fitted = support::fit_gaussian_stage(b_, s_.gaussian,
                                                  train_.observed(b_).items(0, s_.gaussian.observations), s_.seed);
        const double fit_seconds = elapsed();
        evaluate("gaussian", fitted.prior, fitted.prior, fitted.prior.mu(), s_.gaussian.mmps, s_.gaussian.sampling);
        batch<B> exact(b_, test_.truth.features(), test_.items());
        prior::posterior_means(b_, fitted.prior, test_.observed(b_), exact.view());
        const double exact_mean = support::psnr(b_, exact, test_.truth.cview());

        const double unseen =
            prior::log_evidence(b_, fitted.prior, test_.observed(b_)) / static_cast<double>(test_.items());
        support::print_evidence(std::cout, fitted.history, s_.gaussian.observations);
        std::cout << "test images, after the last lap: " << support::number(unseen, 2) << "\n" << std::endl;

        if (s_.network) fit_network(fitted.prior);
        if (o_.plan_only) return 0;
        if (status_ == prior::em_status::cancelled) return 130;

        print_figures(zero_fill, mean_fill, exact_mean);
        const double seconds = elapsed();
        io::save_json(o_.out / "report.json",
                      {{"program", "cifar"},
                       {"environment", support::environment()},
                       {"backend", o_.at.backend},
                       {"threads", b_.threads()},
                       {"products", o_.at.products},
                       {"seed", s_.seed},
                       {"observations", train_.items()},
                       {"test_images", test_.items()},
                       {"keep", s_.keep},
                       {"sigma_y", s_.sigma_y},
                       {"rank", s_.gaussian.rank},
                       {"gaussian_observations", s_.gaussian.observations},
                       {"gaussian_laps", fitted.laps},
                       {"log_evidence_per_observation", support::evidence_of(fitted.history, s_.gaussian.observations)},
                       {"log_evidence_test", unseen},
                       {"psnr_zero_fill_db", zero_fill},
                       {"psnr_mean_fill_db", mean_fill},
                       {"psnr_exact_gaussian_mean_db", exact_mean},
                       {"stages", stages_},
                       {"laps", laps_.entries()},
                       {"status", prior::to_string(status_)},
                       {"gaussian_seconds", fit_seconds},
                       {"seconds", seconds}});
        std::cout << "\n"
                  << support::number(seconds, 1) << " s, " << support::number(fit_seconds, 1)
                  << " s of them for the Gaussian prior. Pictures and report.json are in "
                  << std::filesystem::absolute(o_.out).string()
                  << "\n  posterior_*.png  rows: observed, one sample, mean of the samples, truth\n"
                     "  samples_*.png    unconditional samples\n"
                     "  lap_*.png        unconditional samples after that lap of the diffusion prior\n";
        return status_ == prior::em_status::completed ? 0 : 1;
    }

private:
    [[nodiscard]] double elapsed() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    [[nodiscard]] support::masked_images<B> masked(const std::vector<std::filesystem::path>& files, index_t count,
                                                   std::uint32_t purpose) {
        return support::mask_images(b_, support::load_cifar(b_, files, count).x, shape, s_.keep, s_.sigma_y, s_.seed,
                                    purpose);
    }

    /// Figures and pictures of one prior.
    template <class Model>
    void evaluate(const std::string& name, Model& model, const gaussian& estimate, const_vector_t<B> mean,
                  const posterior::mmps_options& mmps, prior::sampling_options sampling) {
        // Of all priors of a run, so that they compare.
        sampling.sampler = s_.network ? s_.em.sampling.sampler : prior::sampler_choice::ddpm;
        sampling.samples_per_observation = s_.evaluation.samples;
        batch<B> x;
        support::progress bar("posterior samples, " + name, static_cast<long>(test_.items() * s_.evaluation.samples));
        const auto figures = support::sample_held_out(b_, model, test_, &estimate, mmps, sampling, mean, s_.seed + 3, x,
                                                      [&](index_t done, index_t) {
                                                          bar.update(static_cast<long>(done));
                                                          return true;
                                                      });
        bar.finish();
        support::save_posterior_picture(b_, o_.out / ("posterior_" + name + ".png"), test_, x.cview(),
                                        std::min(s_.evaluation.pictures, test_.items()), 2);
        const auto free = unconditional(model, sampling, mean);
        save_row("samples_" + name, free);
        io::json figure{{"stage", name},
                        {"psnr_sample_db", figures.sample},
                        {"psnr_mean_db", figures.mean},
                        {"data_residual", figures.residual},
                        {"outside_share", figures.diagnostics.outside_share},
                        {"solver_shares", figures.diagnostics.solver_shares},
                        {"seconds", figures.diagnostics.e_seconds}};
        if (real_) figure.update((*real_)(b_, free.cview()));
        stages_.push_back(std::move(figure));
    }
    template <class Model>
    [[nodiscard]] batch<B> unconditional(Model& model, const prior::sampling_options& sampling,
                                         const_vector_t<B> mean) {
        return support::unconditional(b_, model, sampling, mean,
                                      std::max(s_.evaluation.free_samples, s_.evaluation.pictures));
    }

    /// The diffusion prior, by EM from the Gaussian one.
    void fit_network(gaussian& initial) {
        network model(b_, nn::unet<B>(*s_.network));
        model.initialize(b_, {.seed = s_.seed});
        support::print_plan(std::cout, support::plan_em(b_, model, s_.em, s_.observations), s_.em);
        if (o_.plan_only) return;

        auto em = s_.em;
        em.folder = o_.out / "checkpoint";
        em.resume = o_.resume;
        em.config = model::to_json(*s_.network);
        if (o_.resume) laps_.restore(em.laps);
        const auto result =
            support::fit_diffusion_stage(b_, model, train_.observed(b_), initial, em,
                                         [&](const prior::lap_diagnostics& d, const auto&, const auto& next) {
                                             prior::load_into(b_, next, model);
                                             const auto free = unconditional(model, em.sampling, next.mean.flat());
                                             save_row("lap_" + std::to_string(d.lap), free);
                                             io::json entry = prior::to_json(d);
                                             if (real_) entry.update((*real_)(b_, free.cview()));
                                             laps_.add(std::move(entry));
                                         });
        status_ = result.status;
        if (result.status == prior::em_status::cancelled || result.prior.laps == 0) return;
        evaluate("diffusion", model, *result.prior.estimate, result.prior.mean.flat(),
                 prior::e_step_mmps(b_, em, result.prior), em.sampling);
    }

    void save_row(const std::string& name, const batch<B>& x) {
        io::save_png(o_.out / (name + ".png"),
                     support::picture_row(b_, x.cview().item_range(0, s_.evaluation.pictures), shape, 2));
    }

    void print_figures(double zero_fill, double mean_fill, double exact_mean) const {
        std::cout << "\nPSNR of " << test_.items() << " test images, dB (range 4)\n";
        std::vector<std::vector<std::string>> rows{{"deleted pixels zero", support::number(zero_fill)},
                                                   {"deleted pixels at their mean", support::number(mean_fill)},
                                                   {"gaussian: exact posterior mean", support::number(exact_mean)}};
        for (const auto& stage : stages_) {
            const auto name = stage["stage"].template get<std::string>();
            rows.push_back(
                {name + ": one posterior sample", support::number(stage["psnr_sample_db"].template get<double>())});
            rows.push_back({name + ": mean of " + std::to_string(s_.evaluation.samples) + " samples",
                            support::number(stage["psnr_mean_db"].template get<double>())});
            for (const auto& [key, title] : support::sample_figure_names)
                if (stage.contains(key))
                    rows.push_back({name + ": " + title, support::number(stage[key].template get<double>(), 3)});
        }
        support::print_table(std::cout, {"", "PSNR"}, rows);
    }

    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    B& b_;
    const support::cifar_settings& s_;
    const program_options& o_;
    support::masked_images<B> train_, test_;
    std::optional<support::sample_figures<B, Wide>> real_;  ///< what unconditional samples are compared with
    io::json stages_ = io::json::array();
    support::lap_log laps_;
    prior::em_status status_ = prior::em_status::completed;
};

template <Backend B, Backend Wide>
int run(B& b, Wide& wide, const support::cifar_settings& s, const program_options& o) {
    std::filesystem::create_directories(o.out);
    return pipeline<B, Wide>(b, wide, s, o).run();
}

}  // namespace cifar
