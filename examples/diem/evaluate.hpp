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
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/metrics/ssim.hpp>

#include "diem/commands.hpp"
#include "diem/measured.hpp"
#include "support/report.hpp"

namespace program {

using namespace diem;

/// Beyond these the figures take minutes; --full takes them all the same.
inline constexpr index_t most_frechet_features = 1024, most_sinkhorn_features = 16, most_sinkhorn_points = 4096;

/// Samples and truth as batches; `repeats` samples belong to each item of the truth, or none in particular (0).
template <Backend B>
struct comparison {
    batch<B> x, truth;
    index_t repeats = 0;
    std::optional<support::image_shape> image;

    comparison(B& b, const evaluate_command& o) {
        const auto s = load_items(o.samples), t = load_items(o.truth);
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
        if (image && image->height * image->width * image->channels != features)
            throw shape_error("--image: " + io::to_string(o.image) + " does not have the " + std::to_string(features) +
                              " values of an item of " + o.truth.string());
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
    return metrics::symmetric_divergence(b, part(c.x), part(c.truth), options);
}

template <Backend B, Backend Wide>
int evaluate(B& b, Wide& wide, const evaluate_command& o) {
    check_positive("--data-range", "value", o.data_range);
    check_positive("--regularization", "value", o.regularization);
    const comparison<B> c(b, o);
    const index_t features = c.truth.features();
    io::json report{{"program", "diem evaluate"},  {"samples", o.samples.string()},  {"truth", o.truth.string()},
                    {"sample_items", c.x.items()}, {"truth_items", c.truth.items()}, {"features", features},
                    {"backend", o.at.backend},     {"samples_per_item", c.repeats},  {"data_range", o.data_range}};
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> skipped;
    const auto add = [&](const char* key, const std::string& name, double value, int digits) {
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
    if (c.x.items() < 2 || c.truth.items() < 2)
        skipped.push_back("Frechet distance (fewer than two items)");
    else if (features <= most_frechet_features || o.full)
        add("frechet", "squared Frechet distance of values in [0, 1]", frechet(b, wide, c, o.data_range), 4);
    else
        skipped.push_back("Frechet distance (" + std::to_string(features) + " features; --full computes it)");
    if (features <= most_sinkhorn_features || o.full)
        add("sinkhorn", "Sinkhorn divergence, regularization " + io::json(o.regularization).dump(),
            sinkhorn(b, c, o.regularization), 5);
    else
        skipped.push_back("Sinkhorn divergence (" + std::to_string(features) + " features; --full computes it)");
    std::cout << c.x.items() << " samples, " << c.truth.items() << " items of the truth, " << features
              << " features; data range " << io::json(o.data_range).dump() << "\n\n";
    support::print_table(std::cout, {"", "value"}, rows);
    for (const auto& text : skipped) std::cout << "left out: " << text << '\n';
    if (!o.json.empty()) io::save_json(o.json, report);
    return 0;
}

}  // namespace program
