// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/metrics/calibration.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/metrics/ssim.hpp>

#include "diem/commands.hpp"
#include "diem/measured.hpp"
#include "diem/outputs.hpp"
#include "support/inception_figures.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

/// Beyond these the figures take minutes; --full takes them all the same.
inline constexpr index_t most_frechet_features = 1024, most_sinkhorn_features = 16, most_sinkhorn_points = 4096;

/// Figures of values that are no data of this range mean nothing: squares of them are beyond what sums of the others show.
inline void check_range(const io::array<float>& a, const path& file, double data_range) {
    float most = 0;
    for (const float v : a.data) most = std::max(most, std::abs(v));
    const double ratio = static_cast<double>(most) / data_range;
    const std::string values =
        file.string() + ": values up to " + io::json(most).dump() + " with --data-range " + io::json(data_range).dump();
    if (ratio > 1e6) throw value_error(values + ": scale the data, or give their range");
    if (ratio > 10)
        std::cerr << "diem: warning: " << values << ": PSNR, SSIM and distances are in units of the range\n";
}

/// Samples and truth as batches; `repeats` samples belong to each item of the truth, or none in particular (0).
template <Backend B>
struct comparison {
    batch<B> x, truth;
    index_t repeats = 0;
    std::optional<support::image_shape> image;

    comparison(B& b, const evaluate_command& o) {
        auto s = load_values(o.samples), t = load_values(o.truth);
        const auto order = layout_of(o.layout, "--layout");
        if (order == layout::channels_first && s.shape == t.shape)
            s = channels_last(std::move(s), order, o.samples.string());
        t = channels_last(std::move(t), order, o.truth.string());
        check_range(s, o.samples, o.data_range);
        check_range(t, o.truth, o.data_range);
        const index_t features = t.features(), n = t.items();
        index_t count = s.items();
        if (s.features() != features) {
            const bool grouped = s.shape.size() >= 3 && s.items() == n && s.features() == s.shape[1] * features;
            if (!grouped)
                throw shape_error(o.samples.string() + ": shape " + io::to_string(s.shape) + " does not fit " +
                                  o.truth.string() + ", " + io::to_string(t.shape) + ": expected items of " +
                                  std::to_string(features) + " values, or as many of them for each item of the truth");
            count *= s.shape[1];
        }
        x = to_backend(b, s.data, features, count);
        truth = to_backend(b, t.data, features, n);
        if (!o.unpaired && count % n == 0) repeats = count / n;
        if (s.features() == features && count != n) repeats = 0;
        image = o.image.empty() ? image_of(t.shape) : support::image_shape{o.image[0], o.image[1], o.image[2]};
        check_image(image, features, o.image.empty() ? o.truth.string() + " has " : "--image: the truth has ");
    }
};

/// Sums over the samples against the item of the truth that each belongs to: sample i repeats + k belongs to item i.
struct paired_figures {
    double sample_psnr = 0, mean_psnr = 0;
    double sample_ssim = std::numeric_limits<double>::quiet_NaN(), mean_ssim = sample_ssim;
};
template <Backend B>
paired_figures compare_pairs(B& b, const comparison<B>& c, double data_range) {
    const index_t n = c.truth.items(), d = c.truth.features(), r = c.repeats;
    batch<B> repeated(b, d, n * r), mean(b, d, n);
    b.fill(mean.view(), 0.0F);
    for (index_t i = 0; i < n; ++i)
        for (index_t k = 0; k < r; ++k) {
            const const_view_t<B> one = c.x.cview().item_range(i * r + k, 1);
            b.copy(c.truth.cview().item_range(i, 1), repeated.view().item_range(i * r + k, 1));
            b.axpby(1.0 / static_cast<double>(r), one, 1.0, mean.view().item_range(i, 1));
        }
    paired_figures f;
    f.sample_psnr = support::psnr(b, c.x.cview(), repeated.cview(), data_range);
    f.mean_psnr = support::psnr(b, mean.cview(), c.truth.cview(), data_range);
    const metrics::ssim_options options{.data_range = data_range};
    if (!c.image || c.image->height < options.window || c.image->width < options.window) return f;
    const metrics::image_shape shape{c.image->height, c.image->width, c.image->channels};
    const auto average = [&](const_view_t<B> x, const_view_t<B> y) {
        double sum = 0;
        for (const double v : metrics::ssim(b, x, y, shape, options)) sum += v;
        return sum / static_cast<double>(x.items());
    };
    f.sample_ssim = average(c.x.cview(), repeated.cview());
    f.mean_ssim = average(mean.cview(), c.truth.cview());
    return f;
}

/// Squared Frechet distance with values brought to [0, 1], as pixels are.
template <Backend B, Backend Wide>
double frechet(B& b, Wide& wide, const comparison<B>& c, double data_range) {
    return metrics::frechet_distance(wide, b, c.x.cview(), c.truth.cview()) / (data_range * data_range);
}

template <Backend B>
double sinkhorn(B& b, const comparison<B>& c, double regularization) {
    const auto part = [](const batch<B>& x) {
        return x.cview().item_range(0, std::min(x.items(), most_sinkhorn_points));
    };
    metrics::sinkhorn_options options{.regularization = regularization};
    double spread = 0;  // mean squared value: annealing begins there
    for (const float v : to_host(b, c.truth)) spread += static_cast<double>(v) * static_cast<double>(v);
    options.start_regularization = std::max(regularization, spread / static_cast<double>(c.truth.items()));
    // exp(-C / reg) is taken of squared distances C that have a relative error of 1e-16.
    if (!(options.start_regularization / regularization < 1e12))
        throw value_error("--regularization: " + io::json(regularization).dump() +
                          " is too small for squared distances of about " +
                          io::json(options.start_regularization).dump());
    return metrics::symmetric_divergence(b, part(c.x), part(c.truth), options);
}

/// How often the truth has each rank, as shares of what is expected; up to 20 columns.
inline void print_ranks(const std::vector<double>& counts) {
    const std::size_t bins = counts.size(), columns = std::min<std::size_t>(bins, 20);
    double total = 0;
    for (const double c : counts) total += c;
    std::cout << "ranks of the truth among the samples, of what calibrated samples have (1 everywhere):";
    for (std::size_t k = 0; k < columns; ++k) {
        const std::size_t first = k * bins / columns, last = (k + 1) * bins / columns;
        double sum = 0;
        for (std::size_t i = first; i < last; ++i) sum += counts[i];
        std::cout << ' '
                  << support::number(sum / total * static_cast<double>(bins) / static_cast<double>(last - first), 2);
    }
    std::cout << '\n';
}

/// Interval coverage, ranks and energy score: key, name and value each go to `add`.
template <Backend B, class Add>
void add_coverage(B& b, const comparison<B>& c, io::json& report, const Add& add) {
    const auto ranks = metrics::rank_truth(b, c.x.cview(), c.truth.cview());
    for (const int percent : {50, 80, 95})
        add("coverage_" + std::to_string(percent),
            "truth inside the central " + std::to_string(percent) + " % of the samples, share",
            ranks.coverage(percent / 100.0), 4);
    double sum = 0;
    for (const double score : metrics::energy_score(b, c.x.cview(), c.truth.cview())) sum += score;
    add("energy_score", "energy score, mean over items", sum / static_cast<double>(c.truth.items()), 4);
    report["rank_histogram"] = ranks.counts;
}

template <Backend B, Backend Wide>
int evaluate(B& b, Wide& wide, const evaluate_command& o) {
    const bool to_file = !o.json.empty() && o.json != "-";
    auto files = outputs::file("--json", o.json);
    files.reads("the samples", o.samples).reads("the truth", o.truth).reads("--inception", o.inception);
    if (to_file) files.check();
    const comparison<B> c(b, o);
    if (to_file) files.prepare();
    const index_t features = c.truth.features();
    io::json report{{"program", "diem evaluate"},  {"samples", o.samples.string()},  {"truth", o.truth.string()},
                    {"sample_items", c.x.items()}, {"truth_items", c.truth.items()}, {"features", features},
                    {"backend", o.at.backend},     {"samples_per_item", c.repeats},  {"data_range", o.data_range}};
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> skipped;
    const auto add = [&](const std::string& key, const std::string& name, double value, int digits) {
        if (std::isnan(value)) throw value_error(name + " is no number: samples and truth are too far apart");
        report[key] = value;
        rows.push_back({name, support::number(value, digits)});
    };
    if (c.repeats > 0) {
        const auto f = compare_pairs(b, c, o.data_range);
        const std::string mean = "mean of " + std::to_string(c.repeats);
        add("psnr_sample_db", "PSNR of a sample, dB", f.sample_psnr, 2);
        if (c.repeats > 1) add("psnr_mean_db", "PSNR of the " + mean + ", dB", f.mean_psnr, 2);
        if (std::isfinite(f.sample_ssim)) {
            add("ssim_sample", "SSIM of a sample", f.sample_ssim, 4);
            if (c.repeats > 1) add("ssim_mean", "SSIM of the " + mean, f.mean_ssim, 4);
        } else {
            skipped.push_back("SSIM (items are no images of at least 7 x 7 pixels)");
        }
    } else {
        skipped.push_back("PSNR and SSIM (samples belong to no items of the truth)");
    }
    if (o.coverage) {
        if (c.repeats < 2)
            throw value_error("--coverage: needs two or more samples of each item of the truth, " + o.samples.string() +
                              " has " + std::to_string(c.x.items()) + " samples for " +
                              std::to_string(c.truth.items()) + " items" + (o.unpaired ? ", and --unpaired" : ""));
        add_coverage(b, c, report, add);
    }
    if (c.x.items() < 2 || c.truth.items() < 2)
        skipped.push_back("Frechet distance (fewer than two items)");
    else if (features <= most_frechet_features || o.full)
        add("frechet", "squared Frechet distance of values in [0, 1]", frechet(b, wide, c, o.data_range), 4);
    else
        skipped.push_back("Frechet distance (" + std::to_string(features) + " features; --full computes it)");
    if (!o.inception.empty()) {
        if (!c.image || c.image->channels != 3 || c.x.items() < 2 || c.truth.items() < 2 || o.data_range != 4)
            throw value_error("--inception: needs two or more images of three channels on both sides, in [-2, 2]");
        const support::inception<B> net(o.inception, b);
        const nn::image_shape shape{c.image->height, c.image->width, c.image->channels};
        const auto real = support::moments_of_data(b, wide, net, shape, c.truth.cview());
        const auto figures = support::inception_figures(b, wide, net, shape, c.x.cview(), real);
        report.update(figures);
        for (const auto& [key, name] : support::inception_figure_names)
            add(key, name, figures.at(key).template get<double>(), 3);
    }
    if (features <= most_sinkhorn_features || o.full)
        add("sinkhorn", "Sinkhorn divergence, regularization " + io::json(o.regularization).dump(),
            sinkhorn(b, c, o.regularization), 5);
    else
        skipped.push_back("Sinkhorn divergence (" + std::to_string(features) + " features; --full computes it)");
    std::cout << c.x.items() << " samples, " << c.truth.items() << " items of the truth, " << features
              << " features; data range " << io::json(o.data_range).dump() << "\n\n";
    support::print_table(std::cout, {"", "value"}, rows);
    for (const auto& text : skipped) std::cout << "left out: " << text << '\n';
    if (o.coverage) print_ranks(report["rank_histogram"].get<std::vector<double>>());
    if (to_file) io::save_json(o.json, report);
    support::tell(report);
    return 0;
}

}  // namespace program
