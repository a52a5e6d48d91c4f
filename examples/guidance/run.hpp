// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
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
#include <diem/nn/unet.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/moments.hpp>

#include "guidance/exact.hpp"
#include "guidance/methods.hpp"
#include "guidance/problems.hpp"
#include "guidance/scaled_prior.hpp"
#include "support/cifar_files.hpp"
#include "support/classifier_file.hpp"
#include "support/html_report.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/interrupt.hpp"
#include "support/outputs.hpp"
#include "support/posterior_figures.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace guidance {

inline constexpr support::image_shape shape{extent.height, extent.width, extent.channels};

/// How near restored images are to the truth; values are brought to [-2, 2] first.
template <Backend B>
class judge {
public:
    /// `file`: a classifier (examples/classifier.cpp), or empty.
    judge(B& b, const_view_t<B> truth, const std::filesystem::path& file) : b_(b), truth_(truth) {
        if (file.empty()) return;
        net_.emplace(support::load_classifier(file, b));
        features_ = to_host(b, net_->forward(b, truth).features);
        scale_ = mean_square(features_, features_, net_->features());
    }
    /// PSNR (dB, range 4) and SSIM, means over images, and the squared distance of the classifier's features to those of the
    /// truth, in units of that between two images.
    [[nodiscard]] io::json operator()(const_view_t<B> x) {
        const auto beyond = prior::outside<B>(b_, x, -1e6, 1e6);
        const batch<B> shown = support::clipped(b_, x);
        const auto near = support::mean_restoration(b_, shown.cview(), truth_, shape);
        io::json out{
            {"psnr_db", near.psnr}, {"ssim", *near.ssim}, {"diverged", std::count(beyond.begin(), beyond.end(), 1)}};
        if (net_)
            out["feature_distance"] =
                mean_square(to_host(b_, net_->forward(b_, shown.cview()).features), features_, 0) / scale_;
        return out;
    }

private:
    /// Mean over items of |a - b|^2, b moved on by `shift` numbers, in a circle.
    [[nodiscard]] double mean_square(const std::vector<float>& a, const std::vector<float>& b, index_t shift) const {
        double sum = 0;
        for (std::size_t k = 0; k < a.size(); ++k) {
            const double d =
                static_cast<double>(a[k]) - static_cast<double>(b[(k + static_cast<std::size_t>(shift)) % b.size()]);
            sum += d * d;
        }
        return sum / static_cast<double>(truth_.items());
    }
    B& b_;
    const_view_t<B> truth_;
    std::optional<support::classifier<B>> net_;
    std::vector<float> features_;
    double scale_ = 1;
};

/// The program on a backend; `wide` is one in double precision, for priors whose posterior is known.
template <Backend B, Backend Wide>
class comparison {
public:
    comparison(B& b, Wide& wide, const settings& s, const program_options& o)
        : b_(b), wide_(wide), s_(s), o_(o), methods_(methods_of(s)), report_(o.out, facts()) {}

    /// The exit status.
    int run() {
        support::outputs files("--out", o_.out);
        files.reads("--config", o_.config)
            .reads("--prior", o_.prior)
            .reads("--classifier", o_.classifier)
            .writes({"report.json", "report.html", "restored.png"});
        files.prepare();
        support::catch_interrupts();
        std::cout << s_.problems.size() << " problems, " << methods_.size() << " methods; "
                  << support::describe(o_.at, b_.threads()) << std::endl;
        if (o_.resume) restore();
        save("running");
        if (!o_.prior.empty() && report_.json()["pictures"].empty()) images();
        known();
        if (support::interrupted()) {
            save("cancelled");
            return support::interrupt_status();
        }
        print();
        save("completed");
        return 0;
    }

private:
    [[nodiscard]] io::json facts() const {
        io::json problems = io::json::array(), names = io::json::array();
        for (const auto& p : s_.problems)
            problems.push_back({{"type", p.type}, {"sigma_y", p.sigma_y}, {"size", p.size}, {"keep", p.keep}});
        for (const auto& m : methods_) names.push_back(m.name);
        return {{"program", "guidance"},
                {"summary", "MMPS and other methods of guidance beside each other, on " +
                                (o_.prior.empty() ? std::string() : std::to_string(s_.images) + " images and ") +
                                "posteriors that are known."},
                {"backend", o_.at.backend},
                {"threads", b_.threads()},
                {"products", o_.at.products},
                {"seed", s_.seed},
                {"images", s_.images},
                {"problems", problems},
                {"methods", names},
                {"sigma_min", s_.sigma_min},
                {"sigma_max", s_.sigma_max},
                {"zeta", s_.zeta},
                {"lambda", s_.lambda},
                {"iterations", s_.iterations},
                {"known_samples", s_.exact.samples},
                {"results", io::json::array()},
                {"known", io::json::array()},
                {"pictures", io::json::array()}};
    }

    /// What the report in --out has already. Throws config_error where that is of other settings.
    void restore() {
        const auto path = o_.out / "report.json";
        if (!std::filesystem::exists(path)) return;
        auto old = io::load_json(path);
        for (const char* key : {"program", "images", "problems", "methods", "sigma_min", "sigma_max", "zeta", "lambda",
                                "iterations", "known_samples", "seed"})
            if (old.contains(key) && old[key] != report_.json()[key])
                throw config_error(path.string() + ": of a run with another \"" + key + "\"");
        const auto take = [&](const char* key, const std::vector<const char*>& about) {
            if (!old.contains(key)) return;
            const auto complete = [&](const io::json& entry) {
                return std::all_of(about.begin(), about.end(), [&](const char* name) { return entry.contains(name); });
            };
            if (!old[key].is_array() || !std::all_of(old[key].begin(), old[key].end(), complete))
                throw io_error(path.string() + ": is no report of a run: \"" + key + "\"");
            report_.json()[key] = std::move(old[key]);
        };
        take("results", {"problem", "method", "steps"});
        take("known", {"prior", "seed", "method", "steps"});
        take("pictures", {});
    }
    /// Whether an entry of `list` says all of this.
    [[nodiscard]] bool has(const char* list, const io::json& about) {
        const auto& entries = report_.json()[list];
        return std::any_of(entries.begin(), entries.end(), [&](const io::json& entry) { return says(entry, about); });
    }
    [[nodiscard]] static bool says(const io::json& entry, const io::json& about) {
        return std::all_of(about.items().begin(), about.items().end(),
                           [&](const auto& a) { return entry.at(a.key()) == a.value(); });
    }

    void images() {
        const auto prior = prior::load<B, nn::unet<B>>(o_.prior, b_);
        const auto truth = support::load_cifar(b_, io::cifar10_test_files(o_.data), s_.images).x;
        check_size("--prior", "features of the prior", prior.features(), extent.size());
        judge<B> figures(b_, truth.cview(), o_.classifier);
        // The comparison is made in [-1, 1], figures and pictures in [-2, 2].
        scaled_prior<B, const prior::learned<B, nn::unet<B>>> half(prior, 2);
        batch<B> half_truth(b_, truth.features(), truth.items()), half_mean(b_, prior.features(), 1);
        b_.axpby(0.5, truth.cview(), 0.0, half_truth.view());
        b_.axpby(0.5, as_batch(prior.mean()), 0.0, half_mean.view());
        const index_t shown = std::min(s_.pictures, s_.images);
        // rows_[k]: what is seen, then each method with the most steps, then the truth, of all problems side by side.
        std::vector<batch<B>> rows;
        for (std::size_t k = 0; k < methods_.size() + 2; ++k)
            rows.emplace_back(b_, extent.size(), shown * static_cast<index_t>(s_.problems.size()));
        support::progress bar("images", static_cast<long>(s_.problems.size() * methods_.size() * s_.steps.size()));
        long done = 0;
        for (std::size_t p = 0; p < s_.problems.size(); ++p) {
            auto problem = observe<B>(b_, s_.problems[p], half_truth.cview(), s_.seed, static_cast<std::uint32_t>(p));
            const auto keep = [&](const_view_t<B> from, std::size_t row) {
                b_.copy(from.item_range(0, shown), rows[row].view().item_range(static_cast<index_t>(p) * shown, shown));
            };
            const auto back = [&](view_t<B> x) { b_.axpby(0.0, const_view_t<B>(x), 2.0, x); };
            back(problem.shown.view());
            keep(problem.shown.cview(), 0);
            keep(truth.cview(), rows.size() - 1);
            for (std::size_t m = 0; m < methods_.size(); ++m)
                for (const index_t steps : s_.steps) {
                    if (support::interrupted()) return;
                    io::json entry{{"problem", problem.name}, {"method", methods_[m].name}, {"steps", steps}};
                    const bool last = steps == s_.steps.back(), found = has("results", entry);
                    if (found && !last) continue;
                    const index_t n = found ? shown : s_.images;  // found: for the picture alone
                    batch<B> x(b_, extent.size(), n);
                    const auto spent = draw(b_, half, problem.observed(b_).items(0, n), methods_[m], s_, steps,
                                            half_mean.flat(), {.seed = s_.seed + 1}, x.view());
                    back(x.view());
                    if (last) keep(x.cview(), m + 1);
                    bar.update(++done);
                    if (found) continue;
                    entry.update({{"forward", spent.passes.forward()},
                                  {"vjps", spent.passes.vjps},
                                  {"seconds_per_image", spent.seconds / static_cast<double>(n)}});
                    entry.update(figures(x.cview()));
                    report_.json()["results"].push_back(std::move(entry));
                    save("running");
                }
        }
        bar.finish();
        std::vector<support::image> picture;
        for (const auto& row : rows) picture.push_back(support::picture_row(b_, row.cview(), shape, 2));
        io::save_png(o_.out / "restored.png", support::stack(picture));
        std::string caption = "Rows: what is seen";
        for (const auto& m : methods_) caption += ", " + m.name;
        report_.json()["pictures"].push_back(
            {{"file", "restored.png"},
             {"group", "Restored images"},
             {"title", "One sample of each method, " + std::to_string(s_.steps.back()) + " steps"},
             {"caption", caption + ", truth"}});
    }

    /// Distances to posteriors that are known; the first entry of each prior and seed is a draw of the posterior itself.
    void known() {
        const auto cells = static_cast<long>(methods_.size() * s_.exact.steps.size());
        support::progress bar("known posteriors", 2 * static_cast<long>(s_.exact.seeds) * cells);
        long done = 0;
        for (const bool gaussian : {true, false})
            for (std::uint64_t k = 0; k < static_cast<std::uint64_t>(s_.exact.seeds); ++k) {
                const std::uint64_t seed = s_.seed + k;
                const auto p = gaussian ? known_gaussian(seed) : known_mixture(seed);
                const auto truth = true_samples(wide_, p, s_, seed, 0);
                const auto add = [&](const std::string& name, index_t steps, const auto& samples) {
                    io::json entry{
                        {"prior", gaussian ? "gaussian" : "mixture"}, {"seed", k}, {"method", name}, {"steps", steps}};
                    if (has("known", entry)) return;
                    const batch<Wide> drawn = samples();
                    const const_view_t<Wide> x = drawn.view();
                    entry.update({{"distance", nullptr}, {"coverage_80", nullptr}});
                    const auto beyond = prior::outside<Wide>(wide_, x, -1e6, 1e6);
                    if (std::count(beyond.begin(), beyond.end(), 1) == 0) {
                        entry["distance"] =
                            gaussian ? gaussian_distance(wide_, p, x) : mixture_distance<Wide>(wide_, truth.cview(), x);
                        entry["coverage_80"] = known_coverage<Wide>(wide_, truth.cview(), x);
                    }
                    report_.json()["known"].push_back(std::move(entry));
                };
                add("posterior", 0, [&] { return true_samples(wide_, p, s_, seed, 1); });
                for (const auto& m : methods_)
                    for (const index_t steps : s_.exact.steps) {
                        if (support::interrupted()) return;
                        add(m.name, steps, [&] { return known_samples(wide_, p, m, s_, steps, seed); });
                        bar.update(++done);
                    }
                save("running");
            }
        bar.finish();
    }

    /// Of the entries of `list` that say so; none where one has no such number.
    [[nodiscard]] std::vector<double> values_of(const char* list, const io::json& about, const char* key) {
        std::vector<double> values;
        for (const auto& entry : report_.json()[list]) {
            if (!says(entry, about)) continue;
            if (!entry.contains(key) || entry[key].is_null()) return {};
            values.push_back(entry[key].template get<double>());
        }
        return values;
    }
    /// Their mean.
    [[nodiscard]] std::string cell(const char* list, const io::json& about, const char* key, int digits) {
        const auto values = values_of(list, about, key);
        return values.empty() ? "" : support::number(support::mean_of(values), digits);
    }
    /// With charts of what each method comes to with so many steps.
    void save(const std::string& status) {
        io::json charts = io::json::array();
        const auto add = [&](const char* list, const io::json& where, const std::vector<index_t>& steps,
                             const char* key, const std::string& title, const char* note) {
            io::json curves = io::json::array();
            for (const auto& m : methods_) {
                io::json y = io::json::array();
                for (const index_t n : steps) {
                    io::json one = where;
                    one.update({{"method", m.name}, {"steps", n}});
                    const auto values = values_of(list, one, key);
                    y.push_back(values.empty() ? io::json(nullptr) : io::json(support::mean_of(values)));
                }
                curves.push_back({{"name", m.name}, {"x", steps}, {"y", y}});
            }
            charts.push_back(
                {{"title", title}, {"x_label", "steps"}, {"logarithmic_x", true}, {"curves", curves}, {"note", note}});
        };
        for (const auto& p : s_.problems)
            if (!o_.prior.empty())
                add("results", {{"problem", p.type}}, s_.steps, "psnr_db", "PSNR of a sample, dB: " + p.type, "");
        for (const char* prior : {"gaussian", "mixture"})
            add("known", {{"prior", prior}}, s_.exact.steps, "distance",
                std::string("Distance to the posterior of a ") + (prior[0] == 'g' ? "Gaussian" : "mixture"),
                "Mean of the seeds; 0 for samples of the posterior itself, but for their number.");
        auto& report = report_.json();
        const auto of = methods_.size(), seeds = static_cast<std::size_t>(s_.exact.seeds);
        const auto images = o_.prior.empty() ? 0 : s_.problems.size() * of * s_.steps.size();
        report["charts"] = charts;
        report_.progress(static_cast<index_t>(report["results"].size() + report["known"].size()),
                         static_cast<index_t>(images + 2 * seeds * (1 + of * s_.exact.steps.size())), "comparisons");
        report_.save(status);
    }
    void print() {
        if (!o_.prior.empty()) {
            std::cout << "\nPSNR (dB, range 4), structural similarity, distance of features of one sample of each of "
                      << s_.images << " images\n";
            std::vector<std::string> head{"method", "steps", "passes", "s per image"};
            for (const auto& p : s_.problems) head.push_back(p.type);
            std::vector<std::vector<std::string>> rows;
            for (const auto& m : methods_)
                for (const index_t steps : s_.steps) {
                    const io::json of{{"method", m.name}, {"steps", steps}};
                    rows.push_back({m.name, std::to_string(steps),
                                    cell("results", of, "forward", 0) + " + " + cell("results", of, "vjps", 0),
                                    cell("results", of, "seconds_per_image", 2)});
                    for (const auto& p : s_.problems) {
                        io::json one = of;
                        one["problem"] = p.type;
                        rows.back().push_back(cell("results", one, "psnr_db", 2) + " " +
                                              cell("results", one, "ssim", 2) + " " +
                                              cell("results", one, "feature_distance", 2));
                    }
                }
            support::print_table(std::cout, head, rows);
        }
        std::cout << "\nDistance of " << s_.exact.samples << " samples to a known posterior, mean of " << s_.exact.seeds
                  << " seeds: of a Gaussian prior (of the moments, as a part of the variance), of a mixture "
                     "(Sinkhorn);\nbeside it how often intervals of 80 % hold a draw of the posterior\n";
        std::vector<std::vector<std::string>> rows;
        const auto row = [&](const std::string& name, index_t steps) {
            rows.push_back({name, steps > 0 ? std::to_string(steps) : ""});
            for (const char* prior : {"gaussian", "mixture"}) {
                const io::json of{{"prior", prior}, {"method", name}, {"steps", steps}};
                rows.back().push_back(cell("known", of, "distance", 4));
                rows.back().push_back(cell("known", of, "coverage_80", 2));
            }
        };
        row("posterior", 0);
        for (const auto& m : methods_)
            for (const index_t steps : s_.exact.steps) row(m.name, steps);
        support::print_table(std::cout, {"method", "steps", "Gaussian", "in 80 %", "mixture", "in 80 %"}, rows);
    }

    B& b_;
    Wide& wide_;
    const settings& s_;
    const program_options& o_;
    std::vector<method> methods_;
    support::run_report report_;
};

}  // namespace guidance
