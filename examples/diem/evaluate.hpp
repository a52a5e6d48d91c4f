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
#include <diem/parallel/communicator.hpp>

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

/// Of each item of the truth, with the samples that belong to it (sample i repeats + k to item i).
struct item_figures {
    std::vector<double> sample_error, mean_error;  ///< mean squares: of each sample, of the samples' mean
    std::vector<double> sample_ssim, mean_ssim;    ///< empty: items are no images
    std::vector<double> energy, ranks;             ///< with coverage: scores; counts of ranks, block by block
};

/// Blocks of items are shared among the ranks, all of which get all figures: the same for any number of them.
template <Backend B>
item_figures figures_of_items(B& b, const comparison<B>& c, const evaluate_command& o) {
    constexpr index_t block = 256;
    const auto& ranks = o.at.ranks;
    const index_t n = c.truth.items(), d = c.truth.features(), r = c.repeats, blocks = (n + block - 1) / block;
    const metrics::ssim_options options{.data_range = o.data_range};
    const bool images = c.image && c.image->height >= options.window && c.image->width >= options.window;
    const auto append = [](std::vector<double>& to, const std::vector<double>& values) {
        to.insert(to.end(), values.begin(), values.end());
    };
    item_figures f;
    for (index_t k = parallel::first_of(blocks, ranks.rank(), ranks.size());
         k < parallel::first_of(blocks, ranks.rank() + 1, ranks.size()); ++k) {
        const index_t first = k * block, count = std::min(block, n - first);
        const const_view_t<B> truth = c.truth.cview().item_range(first, count),
                              x = c.x.cview().item_range(first * r, count * r);
        batch<B> repeated(b, d, count * r), mean(b, d, count);
        b.fill(mean.view(), 0.0F);
        for (index_t i = 0; i < count; ++i)
            for (index_t s = 0; s < r; ++s) {
                b.copy(truth.item_range(i, 1), repeated.view().item_range(i * r + s, 1));
                b.axpby(1.0 / static_cast<double>(r), x.item_range(i * r + s, 1), 1.0, mean.view().item_range(i, 1));
            }
        append(f.sample_error, metrics::mean_squared_error<B>(b, x, repeated.cview()));
        append(f.mean_error, metrics::mean_squared_error<B>(b, mean.cview(), truth));
        if (images) {
            const metrics::image_shape shape{c.image->height, c.image->width, c.image->channels};
            append(f.sample_ssim, metrics::ssim<B>(b, x, repeated.cview(), shape, options));
            append(f.mean_ssim, metrics::ssim<B>(b, mean.cview(), truth, shape, options));
        }
        if (o.coverage) {
            append(f.energy, metrics::energy_score<B>(b, x, truth));
            append(f.ranks, metrics::rank_truth<B>(b, x, truth).counts);
        }
    }
    const auto share = [&](std::vector<double>& own, index_t per_item, index_t per_block) {
        std::vector<index_t> counts;
        for (int q = 0; q < ranks.size(); ++q) {
            const index_t from = parallel::first_of(blocks, q, ranks.size()),
                          to = parallel::first_of(blocks, q + 1, ranks.size());
            counts.push_back(per_block * (to - from) +
                             per_item * (std::min(n, to * block) - std::min(n, from * block)));
        }
        own = parallel::all_gather<double>(ranks, own, counts, "figures of items");
    };
    share(f.sample_error, r, 0);
    share(f.mean_error, 1, 0);
    if (images) {
        share(f.sample_ssim, r, 0);
        share(f.mean_ssim, 1, 0);
    }
    if (o.coverage) {
        share(f.energy, 1, 0);
        share(f.ranks, 0, r + 1);
    }
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
template <class Add>
void add_coverage(const item_figures& f, index_t repeats, io::json& report, const Add& add) {
    metrics::rank_histogram ranks{std::vector<double>(static_cast<std::size_t>(repeats + 1))};
    for (std::size_t k = 0; k < f.ranks.size(); ++k) ranks.counts[k % ranks.counts.size()] += f.ranks[k];
    for (const int percent : {50, 80, 95})
        add("coverage_" + std::to_string(percent),
            "truth inside the central " + std::to_string(percent) + " % of the samples, share",
            ranks.coverage(percent / 100.0), 4);
    add("energy_score", "energy score, mean over items", support::mean_of(f.energy), 4);
    report["rank_histogram"] = ranks.counts;
}

template <Backend B, Backend Wide>
int evaluate(B& b, Wide& wide, const evaluate_command& o) {
    const bool to_file = !o.json.empty() && o.json != "-";
    auto files = outputs::file("--json", o.json);
    files.reads("the samples", o.samples)
        .reads("the truth", o.truth)
        .reads("--inception", o.inception)
        .replaces(io::file_kind::json_text);
    if (to_file) files.check();
    const comparison<B> c(b, o);
    if (to_file && o.at.ranks.rank() == 0) files.prepare();
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
    if (o.coverage && c.repeats < 2)
        throw value_error("--coverage: needs two or more samples of each item of the truth, " + o.samples.string() +
                          " has " + std::to_string(c.x.items()) + " samples for " + std::to_string(c.truth.items()) +
                          " items" + (o.unpaired ? ", and --unpaired" : ""));
    if (!o.inception.empty() &&
        (!c.image || c.image->channels != 3 || c.x.items() < 2 || c.truth.items() < 2 || o.data_range != 4))
        throw value_error("--inception: needs two or more images of three channels on both sides, in [-2, 2]");
    if (c.repeats > 0) {
        const auto f = figures_of_items(b, c, o);
        const std::string mean = "mean of " + std::to_string(c.repeats);
        const auto psnr = [&](const std::vector<double>& errors) {
            return 10 * std::log10(o.data_range * o.data_range / support::mean_of(errors));
        };
        add("psnr_sample_db", "PSNR of a sample, dB", psnr(f.sample_error), 2);
        if (c.repeats > 1) add("psnr_mean_db", "PSNR of the " + mean + ", dB", psnr(f.mean_error), 2);
        if (!f.sample_ssim.empty()) {
            add("ssim_sample", "SSIM of a sample", support::mean_of(f.sample_ssim), 4);
            if (c.repeats > 1) add("ssim_mean", "SSIM of the " + mean, support::mean_of(f.mean_ssim), 4);
        } else {
            skipped.push_back("SSIM (items are no images of at least 7 x 7 pixels)");
        }
        if (o.coverage) add_coverage(f, c.repeats, report, add);
    } else {
        skipped.push_back("PSNR and SSIM (samples belong to no items of the truth)");
    }
    if (o.at.ranks.rank() != 0) return 0;  // the rest are figures of all items together
    if (c.x.items() < 2 || c.truth.items() < 2)
        skipped.push_back("Frechet distance (fewer than two items)");
    else if (features <= most_frechet_features || o.full)
        add("frechet", "squared Frechet distance of values in [0, 1]", frechet(b, wide, c, o.data_range), 4);
    else
        skipped.push_back("Frechet distance (" + std::to_string(features) + " features; --full computes it)");
    if (!o.inception.empty()) {
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
