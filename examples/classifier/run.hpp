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

#include <diem/backend/batch.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/json.hpp>
#include <diem/io/png.hpp>
#include <diem/prior/settings.hpp>
#include <diem/train/augmentation.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/trainer.hpp>

#include "classifier/program.hpp"
#include "support/cifar_files.hpp"
#include "support/classifier_file.hpp"
#include "support/html_report.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/interrupt.hpp"
#include "support/masked_images.hpp"
#include "support/memory.hpp"
#include "support/outputs.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/sample_figures.hpp"

namespace classify {

using namespace diem;

/// Trains with Adam; the network is left with the averaged weights. Returns the running mean of the loss, as in
/// train::training_report, or nothing where a signal ended it. `on_loss(steps, loss)` is called now and then.
template <Backend B, class OnLoss>
std::optional<double> fit(B& b, support::classifier<B>& net, const support::labelled_images<B>& data, const settings& s,
                          const OnLoss& on_loss) {
    const auto& t = s.training;
    train::check_training(t);
    train::optimizer<B> adam(b, net.parameters(), t.adam);
    const train::item_stream stream{s.seed, data.x.items()};
    batch<B> x(b, data.x.features(), t.batch), grad(b, net.table().size(), 1);
    std::vector<int> labels(static_cast<std::size_t>(t.batch));
    double recent = 0;
    support::progress bar("training", static_cast<long>(t.steps));
    const index_t every = std::max<index_t>(t.steps / 200, 1);
    for (index_t step = 0; step < t.steps; ++step) {
        if (support::interrupted()) return std::nullopt;
        const index_t first = step * t.batch;
        train::gather_batch<B>(b, data.x, stream, first, t.augmentation,
                               {.seed = s.seed, .step = static_cast<std::uint32_t>(step)}, x);
        for (index_t i = 0; i < t.batch; ++i)
            labels[static_cast<std::size_t>(i)] = data.labels[static_cast<std::size_t>(stream(first + i))];
        const double loss = net.gradient(b, x, to_backend(b, labels, t.batch, 1).flat(), grad.flat());
        if (!std::isfinite(loss))
            throw value_error("loss is " + std::to_string(loss) + " at step " + std::to_string(step));
        adam.update(b, net.mutable_parameters(), grad.flat(), train::learning_rate(t.rate, step, t.steps));
        recent = step == 0 ? loss : 0.98 * recent + 0.02 * loss;
        bar.update(static_cast<long>(step + 1), "loss " + support::number(recent, 3));
        if ((step + 1) % every == 0 || step + 1 == t.steps) on_loss(step + 1, recent);
    }
    b.copy(as_batch(std::as_const(adam).average()), as_batch(net.mutable_parameters()));
    return recent;
}

/// What training will cost, from gradients of one batch on this machine; the parameters are left as they were.
template <Backend B>
void print_plan(B& b, support::classifier<B>& net, const support::labelled_images<B>& data, const settings& s) {
    const index_t n = std::min(s.training.batch, data.x.items());
    const auto label = to_backend(b, std::vector<int>(data.labels.begin(), data.labels.begin() + n), n, 1);
    batch<B> grad(b, net.table().size(), 1);
    double seconds = 0;
    for (int k = 0; k < 2; ++k) {  // the first warms up
        const auto start = std::chrono::steady_clock::now();
        net.gradient(b, data.x.cview().item_range(0, n), label.flat(), grad.flat());
        seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    std::cout << "Plan: " << s.training.steps << " steps of " << n << " images, about "
              << support::number(seconds * static_cast<double>(s.training.steps), 0)
              << " s; weights, gradient, moments and average "
              << support::mib(support::training_state_bytes<scalar_t<B>>(net.table().size())) << ", activations "
              << support::mib(net.activation_bytes(n)) << std::endl;
}

/// Share of the images whose largest logit is that of their label.
template <Backend B>
double accuracy(B& b, support::classifier<B>& net, const support::labelled_images<B>& data) {
    const auto logits = to_host(b, net.forward(b, data.x).logits);
    const auto classes = net.config().classes;
    index_t right = 0;
    for (index_t i = 0; i < data.x.items(); ++i) {
        const auto* const z = logits.data() + i * classes;
        right += std::max_element(z, z + classes) - z == data.labels[static_cast<std::size_t>(i)] ? 1 : 0;
    }
    return static_cast<double>(right) / static_cast<double>(data.x.items());
}

constexpr support::image_shape image_extents{32, 32, 3};

/// What the features say of images that are real and of images that are not: the first `real` test images against the next
/// `count`, and against these with 75 % of the pixels at their mean. A `picture` shows the first of both kinds.
template <Backend B, Backend Wide>
io::json compare(B& b, Wide& wide, const std::filesystem::path& file, const_view_t<B> test, index_t real, index_t count,
                 const std::filesystem::path& picture = {}) {
    support::sample_figures figures(b, wide, test.item_range(0, real), file);
    batch<B> other(b, test.features(), count);
    b.copy(test.item_range(real, count), other.view());
    const auto of_real = figures(b, other);
    const auto masked = support::mask_images(b, std::move(other), image_extents, 0.25, 1e-3, 0, 0);
    const auto filled = support::filled(b, masked, support::observed_means(b, masked));
    const auto of_filled = figures(b, filled);
    if (!picture.empty()) {
        const index_t shown = std::min<index_t>(count, 16);
        io::save_png(picture, support::stack(
                                  {support::picture_row(b, masked.truth.cview().item_range(0, shown), image_extents, 1),
                                   support::picture_row(b, filled.cview().item_range(0, shown), image_extents, 1)}));
    }
    std::cout << "\nagainst " << real << " test images:\n";
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, title] : support::sample_figure_names)
        rows.push_back({title, support::number(of_real[key].template get<double>(), 3),
                        support::number(of_filled[key].template get<double>(), 3)});
    support::print_table(std::cout, {"", std::to_string(count) + " others", "75 % of pixels at their mean"}, rows);
    return {{"real_images", real}, {"images", count}, {"real", of_real}, {"mean_filled", of_filled}};
}

/// Verdicts, curve and table of the page.
inline io::json shown_results(const io::json& report, const settings& s) {
    io::json verdicts = io::json::array(), rows = io::json::array();
    const double share = report.at("test_accuracy").get<double>(), guess = 1.0 / static_cast<double>(s.network.classes);
    const auto percent = [](double v) { return support::number(100 * v, 1) + " %"; };
    const bool learned = share > 2 * guess;
    verdicts.push_back({{"level", learned ? "good" : "warning"},
                        {"title", percent(share) + " of the test images are right" +
                                      (learned ? "" : ": hardly more than by guessing")},
                        {"text", "Guessing has " + percent(guess) + "."}});
    for (const auto& c : report.at("comparisons")) {
        const auto of = [&](const char* kind) { return c.at(kind).at("frechet_features").get<double>(); };
        const double factor = of("mean_filled") / of("real");
        const auto counts = c.at("images").dump() + " images against " + c.at("real_images").dump();
        verdicts.push_back({{"level", factor > 2 ? "good" : "warning"},
                            {"title", factor > 2 ? "Its features tell damaged images from real ones, " + counts
                                                 : "Its features hardly tell damaged images from real ones, " + counts},
                            {"text", "Their Frechet distance to test images is " + support::brief(factor) +
                                         " times that of other test images."}});
        for (const auto& [key, title] : support::sample_figure_names)
            rows.push_back({title, counts, support::brief(c.at("real").at(key).get<double>()),
                            support::brief(c.at("mean_filled").at(key).get<double>())});
    }
    return {{"verdicts", verdicts},
            {"tables",
             {{{"title", "Against test images"},
               {"head", {"Figure", "Number", "Other test images", "75 % of their pixels at the mean"}},
               {"rows", rows}}}}};
}

template <Backend B, Backend Wide>
int run(B& b, Wide& wide, const settings& s, const program_options& o) {
    check_size("classifier", "network.classes", s.network.classes, 10);
    check_value("network.shape",
                s.network.shape.height == 32 && s.network.shape.width == 32 && s.network.shape.channels == 3,
                "images of CIFAR-10 are 32 x 32 x 3");
    support::outputs files("--out", o.out);
    files.reads("--config", o.config)
        .reads("--data", io::cifar10_train_files(o.data))
        .reads("--data", io::cifar10_test_files(o.data))
        .writes({"classifier.safetensors", "report.json", "report.html", "images.png"});
    if (!o.plan_only) files.prepare();
    support::classifier<B> net(b, s.network, {.seed = s.seed});
    const auto train = support::load_cifar(b, io::cifar10_train_files(o.data), s.train_images);
    const auto test = support::load_cifar(b, io::cifar10_test_files(o.data), s.test_images);
    std::cout << net.table().size() << " parameters, " << net.features() << " features; " << s.training.steps
              << " steps of " << s.training.batch << " of " << train.x.items() << " images; "
              << support::describe(o.at, b.threads()) << std::endl;
    print_plan(b, net, train, s);
    if (o.plan_only) return 0;
    support::run_report page(
        o.out,
        {{"program", "classifier"},
         {"summary", "A classifier of CIFAR-10 of " + std::to_string(net.table().size()) + " parameters, trained on " +
                         std::to_string(train.x.items()) + " images; its features stand in for those of Inception-v3."},
         {"backend", o.at.backend},
         {"threads", b.threads()},
         {"products", o.at.products},
         {"seed", s.seed},
         {"network", support::to_json(s.network)},
         {"parameters", net.table().size()},
         {"train_images", train.x.items()},
         {"test_images", test.x.items()},
         {"steps", s.training.steps},
         {"batch", s.training.batch},
         {"config",
          {{"network", support::to_json(s.network)}, {"training", prior::settings_json(s.training)}, {"seed", s.seed}}},
         {"resumes", false}});
    auto& report = page.json();
    io::json steps = io::json::array(), losses = io::json::array();
    double saved_at = 0;
    const auto show = [&](index_t step, double loss) {
        steps.push_back(step);
        losses.push_back(loss);
        // No braces to the right of =: clang 16 does not destroy what they replace.
        io::json curve = io::json::object(), chart = io::json::object();
        curve["name"] = "loss";
        curve["x"] = steps;
        curve["y"] = losses;
        chart["title"] = "Training loss";
        chart["x_label"] = "steps";
        chart["curves"].push_back(std::move(curve));
        chart["note"] = "Cross entropy of augmented images, a running mean.";
        report["charts"] = io::json::array();
        report["charts"].push_back(std::move(chart));
        page.progress(step, s.training.steps, "steps");
        if (page.seconds() - saved_at < 10) return;
        page.save("running");
        saved_at = page.seconds();
    };
    page.progress(0, s.training.steps, "steps");
    support::catch_interrupts();
    page.save("running");
    const auto loss = fit(b, net, train, s, show);
    const auto cancelled = [&] {
        page.save("cancelled");
        return support::interrupt_status();
    };
    if (!loss) return cancelled();
    const double seconds = page.seconds(), share = accuracy(b, net, test);
    std::cout << "loss " << support::number(*loss, 3) << ", " << support::number(100 * share, 2) << " % of "
              << test.x.items() << " test images right, " << support::number(seconds, 0) << " s" << std::endl;

    const io::json about{{"loss", *loss}, {"test_accuracy", share}};
    const auto file = o.out / "classifier.safetensors";
    support::save_classifier(file, b, net, about);
    const index_t half = test.x.items() / 2;
    io::json comparisons = io::json::array();
    if (support::interrupted()) return cancelled();
    comparisons.push_back(compare(b, wide, file, test.x, half, half, o.out / "images.png"));
    if (support::interrupted()) return cancelled();
    if (half > 1024)
        comparisons.push_back(compare(b, wide, file, test.x, 1024, 256));  // as many as in cifar's configurations
    report.update(about);
    report.update({{"comparisons", comparisons},
                   {"training_seconds", seconds},
                   {"pictures",
                    {{{"file", "images.png"},
                      {"group", "What is compared"},
                      {"title", "Test images"},
                      {"caption", "Below: the same with 75 % of the pixels at their mean."}}}}});
    report.update(shown_results(report, s));
    page.save("completed");
    page.warn("classifier");
    std::cout << "\nclassifier.safetensors, report.json and report.html are in "
              << std::filesystem::absolute(o.out).string() << '\n';
    return 0;
}

}  // namespace classify
