// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/algorithms.hpp>

#include "mri/measured.hpp"
#include "mri/measured_options.hpp"
#include "mri/measured_prior.hpp"
#include "support/html_report.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/interrupt.hpp"
#include "support/outputs.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

/// Restorations of a measured slice, one for each set of hidden positions: the table, the pictures, the samples.
namespace measured {

/// Of one set of hidden positions.
struct findings {
    double floor = 0;  ///< relative error at hidden positions that the noise leaves an image that is right
    double zero_filled = 0, cg_sense = 0, sample = 0, mean = 0, kept = 0;  ///< relative errors; `kept`: of the mean
    double residual = 0;                  ///< mean of (y - A x)^2 / sigma^2 of the samples over the kept numbers
    std::vector<double> coverage, inner;  ///< of 50, 80, 95 % intervals: all hidden numbers; those of the inner third
    double seconds = 0;
    std::vector<float> images;  ///< magnitudes: zero filled, CG-SENSE, mean, deviation, sample; (height, width) each
};

inline constexpr double coverage_levels[] = {0.5, 0.8, 0.95};

/// The noise of `samples` measurements, coloured as the coils': (coils, height, width, 2) each. `noise`: that which the samples
/// were drawn with.
template <Backend B>
[[nodiscard]] std::vector<float> coloured_noise(B& b, const problem<B>& p, index_t samples, double noise,
                                                std::uint64_t seed) {
    batch<B> white(b, p.data.size.numbers(), samples);
    b.fill_normal({.seed = seed, .lane = diem::random_lane::user + 7}, white.view());
    b.axpby(0.0, white.cview(), noise * diem::mri::whitened_sigma, white.view());
    return to_host(b, diem::mri::mix_coils<B>(b, p.colour, white.cview(), p.data.size));
}

/// Shares of the hidden numbers inside central intervals of samples (coils, height, width, 2), `predicted` with the noise of a
/// measurement; `inner`: of frequencies within a third of the edge alone.
template <Backend B>
[[nodiscard]] std::vector<double> coverage(B& b, const problem<B>& p, const std::vector<float>& predicted,
                                           index_t samples, bool inner) {
    const auto& size = p.data.size;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < p.data.kspace.size(); ++i) {
        const std::size_t at = i / 2 % p.parts.hidden.size();
        const auto y = static_cast<double>(static_cast<index_t>(at) / size.width - size.height / 2),
                   x = static_cast<double>(static_cast<index_t>(at) % size.width - size.width / 2);
        const double r =
            std::hypot(y / (static_cast<double>(size.height) / 2), x / (static_cast<double>(size.width) / 2));
        if (p.parts.hidden[at] != 0 && (!inner || r < 1.0 / 3)) places.push_back(i);
    }
    const auto n = static_cast<index_t>(places.size());
    if (n == 0) return {};
    std::vector<float> drawn, truth;
    for (index_t s = 0; s < samples; ++s)
        for (const std::size_t i : places)
            drawn.push_back(predicted[static_cast<std::size_t>(s) * p.data.kspace.size() + i]);
    for (const std::size_t i : places) truth.push_back(p.data.kspace[i]);
    const auto ranks =
        diem::metrics::rank_truth<B>(b, to_backend(b, drawn, n, samples).cview(), to_backend(b, truth, n, 1).cview());
    std::vector<double> shares;
    for (const double level : coverage_levels) shares.push_back(ranks.coverage(level));
    return shares;
}

/// Restores the slice without the positions that `seed` hides; nothing where a signal ended it. `x`: D x samples, in the units of the
/// measurement.
template <Backend B>
[[nodiscard]] std::optional<findings> restore_one(B& b, const slice& data, const network_of<B>& network,
                                                  const restore_settings& o, std::uint32_t seed, batch<B>& x) {
    namespace posterior = diem::posterior;
    const auto start = std::chrono::steady_clock::now();
    findings f;
    const auto p = pose(b, data, hide_tenth(data, seed, o.centre), {.maps = {.calibration = o.centre}});
    const index_t features = p.a.cols(), numbers = p.a.rows();
    const auto kspace_of = [&](const_view_t<B> image) { return to_host(b, p.measure(b, image)); };
    const auto error = [&](const std::vector<float>& k) { return relative_error(k, p.data, p.parts.hidden); };
    f.floor = o.noise * noise_share(p.data, p.noise, p.parts.hidden);
    batch<B> zero_filled(b, features, 1), guess(b, features, 1);
    p.a.apply_adjoint(b, p.y.cview(), zero_filled.view());
    f.zero_filled = error(kspace_of(zero_filled.cview()));
    cg_sense(b, p, o.lambda, 30, guess.view());
    f.cg_sense = error(kspace_of(guess.cview()));

    // In the prior's units; the sampler begins at CG-SENSE and noise that hides its errors.
    const double scale = o.level / quantile(magnitudes(to_host(b, guess)), 0.99);
    const double sigma_y = o.noise * diem::mri::whitened_sigma * scale;
    const index_t at_once = std::min(o.batch, o.samples);
    batch<B> first(b, features, 1), y(b, numbers, at_once), variance(b, features, 1), none(b, features, 0);
    b.axpby(scale, guess.cview(), 0.0, first.view());
    for (index_t i = 0; i < at_once; ++i) b.axpby(scale, p.y.cview(), 0.0, y.view().item_range(i, 1));
    b.fill(variance.view(), diem::scalar_t<B>(0.3));
    batch<B> centre(b, features, 1);
    b.copy(first.cview(), centre.view());
    const diem::diffusion::gaussian<B> estimate(b, std::move(centre), std::move(variance), std::move(none));
    posterior::sample_options<B> how;
    how.sampling = {.sampler = diem::diffusion::sampler_choice::ddpm,
                    .steps = o.steps,
                    .batch = at_once,
                    .sigma_min = o.sigma_min,
                    .sigma_max = o.sigma_max};
    how.mmps = {.cov_x = posterior::covariance::blended, .max_iterations = o.iterations, .switch_sigma = 0.3};
    how.estimate = &estimate;
    how.mean = std::as_const(first).flat();
    network_of<B> model(b, network);
    posterior::sample_state all;
    {
        support::progress shown("samples", long(o.samples));
        for (index_t done = 0; done < o.samples; done += at_once) {
            if (support::interrupted()) return std::nullopt;
            const index_t count = std::min(at_once, o.samples - done);
            const auto observed = posterior::observe(b, y.cview().item_range(0, count), p.a,
                                                     diem::linop::isotropic_covariance(numbers, sigma_y * sigma_y));
            const auto state =
                posterior::sample<B>(b, model, observed, how,
                                     diem::random_key{.seed = o.seed, .first_item = static_cast<std::uint32_t>(done)},
                                     x.view().item_range(done, count));
            all.done += state.done;
            all.residual += state.residual;
            all.non_finite += state.non_finite;
            shown.update(long(done + count));
        }
    }
    diem::check_value("mri", all.non_finite == 0, "a sample is not finite");
    // In the units of the measurement; where no coil sees anything, zero and not a sample of the prior.
    p.visible(b, x.view(), 1 / scale);
    const auto kept = static_cast<double>(std::count(p.parts.kept.begin(), p.parts.kept.end(), 1.0F));
    f.residual = all.data_residual() * static_cast<double>(p.parts.kept.size()) / kept;
    const auto mean = support::mean_of_samples(b, x.cview(), 1);
    const auto of_mean = kspace_of(mean.cview());
    f.mean = error(of_mean);
    f.kept = relative_error(of_mean, p.data, p.parts.kept);
    std::vector<float> predicted;
    for (index_t i = 0; i < o.samples; ++i) {
        const auto k = kspace_of(x.cview().item_range(i, 1));
        if (i == 0) f.sample = error(k);
        predicted.insert(predicted.end(), k.begin(), k.end());
    }
    const auto added = coloured_noise(b, p, o.samples, o.noise, o.seed);
    for (std::size_t k = 0; k < predicted.size(); ++k) predicted[k] += added[k];
    f.coverage = coverage(b, p, predicted, o.samples, false);
    f.inner = coverage(b, p, predicted, o.samples, true);

    const auto samples = to_host(b, x), middle = to_host(b, mean);
    std::vector<float> deviation(static_cast<std::size_t>(features / 2));
    for (std::size_t k = 0; k < samples.size(); ++k) {
        const auto d = samples[k] - middle[k % middle.size()];
        deviation[k % middle.size() / 2] += d * d / static_cast<float>(o.samples - 1);
    }
    for (float& v : deviation) v = std::sqrt(v);
    for (const auto& image : {magnitudes(to_host(b, zero_filled)), magnitudes(to_host(b, guess)), magnitudes(middle),
                              deviation, magnitudes(to_host(b, x.cview().item_range(0, 1)))})
        f.images.insert(f.images.end(), image.begin(), image.end());
    f.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return f;
}

/// Magnitudes of the complex images of npy files, one after another.
[[nodiscard]] inline std::vector<float> load_beside(const std::vector<std::string>& files,
                                                    const diem::mri::kspace_size& size) {
    std::vector<float> all;
    for (const auto& file : files) {
        const auto image = diem::io::load_npy_numbers<float>(file);
        diem::check_value(
            "mri", image.complex && image.values.size() == 2 * size.pixels(),
            file + ": not a complex image of " + std::to_string(size.height) + " x " + std::to_string(size.width));
        const auto m = magnitudes(image.values.data);
        all.insert(all.end(), m.begin(), m.end());
    }
    return all;
}

/// Pictures side by side, each from black to its own 99.5 % quantile; the deviation, the fourth, to a tenth of the mean's.
inline void save_pictures(const std::filesystem::path& path, std::vector<float> images,
                          const diem::mri::kspace_size& size) {
    const auto pixels = static_cast<std::size_t>(size.pixels());
    const auto top = [&](std::size_t k) {
        const auto from = images.begin() + static_cast<std::ptrdiff_t>(k * pixels);
        return quantile({from, from + size.pixels()}, 0.995);
    };
    std::vector<double> tops;
    for (std::size_t k = 0; k < images.size() / pixels; ++k) tops.push_back(k == 3 ? top(2) / 10 : top(k));
    for (std::size_t k = 0; k < images.size(); ++k)
        images[k] = static_cast<float>(4 * images[k] / std::max(tops[k / pixels], 1e-30) - 2);
    const auto count = static_cast<index_t>(images.size() / pixels);
    diem::io::save_png(path,
                       support::image_grid<float>(diem::host_view<const float>(images.data(), size.pixels(), count),
                                                  {size.height, size.width}, {.columns = count, .scale = 2}));
}

/// What report.json says from the beginning.
[[nodiscard]] inline diem::io::json facts_of(const slice& data, const restore_settings& o, int threads) {
    const diem::io::json options{{"samples", o.samples},    {"steps", o.steps}, {"iterations", o.iterations},
                                 {"noise", o.noise},        {"level", o.level}, {"sigma_min", o.sigma_min},
                                 {"sigma_max", o.sigma_max}};
    auto facts = options;
    facts.update(
        {{"program", "mri_measured"},
         {"summary", "A slice of " + std::to_string(data.size.height) + " x " + std::to_string(data.size.width) +
                         " pixels, measured with " + std::to_string(data.size.coils) +
                         " coils and restored with a prior of patches; a tenth of what was measured is hidden, "
                         "and judges."},
         {"operator", "Fourier transform of each coil"},
         {"backend", "eigen"},
         {"threads", threads},
         {"seed", o.seed},
         {"config", options},
         {"seeds", diem::io::json::array()},
         {"pictures", diem::io::json::array()},
         {"resumes", false}});
    return facts;
}

/// What the page judges and shows; the data residual is that of the frequencies that were kept.
[[nodiscard]] inline diem::io::json shown_findings(const diem::io::json& seeds) {
    diem::io::json errors = diem::io::json::array(), shares = errors, verdicts = errors;
    if (seeds.empty()) return diem::io::json::object();
    double mean = 0, sense = 0, inside = 0, residual = 0;
    const auto count = static_cast<double>(seeds.size());
    for (const auto& s : seeds) {
        const auto value = [&](const char* key) { return s.at(key).get<double>(); };
        mean += value("mean") / count, sense += value("cg_sense") / count, residual += value("residual") / count;
        if (!s.at("coverage").empty()) inside += s.at("coverage").at(1).get<double>() / count;
        errors.push_back({s.at("seed"), s.at("noise"), s.at("zero_filled"), s.at("cg_sense"), s.at("sample"),
                          s.at("mean"), s.at("kept"), s.at("residual"), s.at("seconds")});
        shares.push_back({s.at("seed"), s.at("coverage"), s.at("coverage_inner")});
    }
    const auto add = [&](const char* level, const std::string& title, const std::string& text) {
        verdicts.push_back({{"level", level}, {"title", title}, {"text", text}});
    };
    const bool better = mean < sense;
    add(better ? "good" : "warning",
        better ? "The mean of the samples beats CG-SENSE at the hidden frequencies"
               : "CG-SENSE is nearer to the hidden frequencies than the mean of the samples",
        "Relative errors " + support::number(mean, 3) + " and " + support::number(sense, 3) + ".");
    const double off = inside - 0.8;
    add(std::abs(off) <= 0.05 ? "good" : "warning",
        std::abs(off) <= 0.05 ? "Samples are spread as the hidden numbers are"
        : off < 0             ? "Samples are spread too little"
                              : "Samples are spread too much",
        "Their intervals of 80 % hold " + support::number(100 * inside, 1) + " % of the hidden numbers.");
    const diem::io::json tables{{{"title", "Relative error of the hidden frequencies (kept: of those that were seen)"},
                                 {"head",
                                  {"Seed", "Noise alone", "Zero filled", "CG-SENSE", "A sample", "Mean", "Mean, kept",
                                   "Data residual", "Seconds"}},
                                 {"rows", errors}},
                                {{"title", "Share of the hidden numbers inside intervals of 50, 80, 95 %"},
                                 {"head", {"Seed", "All", "Inner third of k-space"}},
                                 {"rows", shares}}};
    return {{"data_residual", residual}, {"verdicts", verdicts}, {"tables", tables}};
}

template <Backend B>
int restore_on(B& b, const restore_settings& o) {
    diem::check_value("mri", !o.kspace.empty() && !o.prior.empty(), "--kspace and --prior are needed");
    diem::check_value("mri", !o.seeds.empty(), "--seeds is empty");
    const auto folder = std::filesystem::path(o.out);
    support::outputs files("--out", folder);
    files.reads("--kspace", o.kspace)
        .reads("--prior", o.prior)
        .reads("--beside", o.beside)
        .writes({"pictures.png", "samples.npy", "report.json", "report.html"});
    files.prepare();
    const auto data = load(o.kspace);
    const auto beside = load_beside(o.beside, data.size);
    const auto prior = diem::prior::load<B>(o.prior, b);
    const auto whole = diem::prior::at_size(b, prior, data.size.height, data.size.width);
    diem::check_value("mri", whole.features() == 2 * data.size.pixels(), "the prior is not one of complex images");
    batch<B> x(b, 2 * data.size.pixels(), o.samples);
    support::run_report page(folder, facts_of(data, o, b.threads()));
    auto& report = page.json();
    const auto show = [&](const char* status, std::size_t done) {
        page.progress(static_cast<index_t>(done), static_cast<index_t>(o.seeds.size()), "sets of hidden positions");
        report.update(shown_findings(report.at("seeds")));
        page.save(status);
    };
    support::catch_interrupts();
    show("running", 0);
    std::vector<std::vector<std::string>> rows;
    auto& seeds = report["seeds"];
    using support::number;
    for (const std::uint32_t seed : o.seeds) {
        const auto found = restore_one(b, data, whole.network(), o, seed, x);
        if (!found) {
            show("cancelled", seeds.size());
            return support::interrupt_status();
        }
        const auto& f = *found;
        rows.push_back({std::to_string(seed), number(f.floor, 3), number(f.zero_filled, 3), number(f.cg_sense, 3),
                        number(f.sample, 3), number(f.mean, 3), number(f.kept, 3), number(f.residual),
                        number(f.seconds, 0)});
        seeds.push_back({{"seed", seed},
                         {"noise", f.floor},
                         {"zero_filled", f.zero_filled},
                         {"cg_sense", f.cg_sense},
                         {"sample", f.sample},
                         {"mean", f.mean},
                         {"kept", f.kept},
                         {"residual", f.residual},
                         {"coverage", f.coverage},
                         {"coverage_inner", f.inner},
                         {"seconds", f.seconds}});
        if (seeds.size() == 1) {
            auto images = f.images;
            images.insert(images.end(), beside.begin(), beside.end());
            save_pictures(folder / "pictures.png", std::move(images), data.size);
            diem::io::save_npy(
                folder / "samples.npy",
                diem::io::array<float>({o.samples, data.size.height, data.size.width, 2}, to_host(b, x)));
            report["pictures"].push_back(
                {{"file", "pictures.png"},
                 {"group", "Restored slice"},
                 {"title", "Zero filled, CG-SENSE, mean of the samples, their standard deviation, one sample"},
                 {"caption", std::string("Magnitudes; white of the deviation is a tenth of the mean's") +
                                 (beside.empty() ? "." : ". Then those of --beside.")}});
        }
        show("running", seeds.size());
    }
    std::cout << "Relative error of the hidden frequencies (kept: of those that were seen)\n";
    support::print_table(
        std::cout,
        {"seed", "noise alone", "zero filled", "CG-SENSE", "a sample", "mean", "mean, kept", "residual", "s"}, rows);
    std::cout << "Shares of the hidden numbers inside intervals of 50, 80, 95 %, and of those in the inner third of "
                 "k-space:\n";
    for (const auto& s : seeds)
        std::cout << "  seed " << s["seed"] << ": " << s["coverage"].dump() << ", " << s["coverage_inner"].dump()
                  << '\n';
    show("completed", seeds.size());
    page.warn("mri_measured");
    std::cout << "report.json, report.html, pictures and samples are in " << std::filesystem::absolute(folder).string()
              << '\n';
    return 0;
}

}  // namespace measured
