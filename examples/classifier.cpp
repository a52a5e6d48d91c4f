// SPDX-License-Identifier: Apache-2.0

// A small classifier of CIFAR-10, trained on clean images, for evaluation only: `cifar --classifier` compares its features of
// samples with those of test images. A stand-in for Inception-v3: what comes of it is neither FID nor Inception score.

#include <algorithm>
#include <filesystem>

#include <CLI/CLI.hpp>

#include <diem/io/config.hpp>

#include "classifier/program.hpp"
#include "support/cifar_files.hpp"
#include "support/classifier_file.hpp"
#include "support/em_settings.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

using namespace diem;
using classify::settings;
namespace fs = std::filesystem;

namespace {

/// Throws config_error, naming the file and the key.
settings read_settings(const fs::path& path) {
    settings s;
    auto& a = s.training.augmentation;
    a.height = a.width = 32;
    a.channels = 3;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.object("network", [&](io::config_object& o) { support::read_classifier(o, s.network); });
        support::read_object(c, "training", s.training, s.train_images);
        c.optional("seed", s.seed);
    });
    return s;
}

void shrink(settings& s) {
    for (index_t& channels : s.network.channels) channels = std::min<index_t>(channels, 8);
    s.train_images = 160;
    s.test_images = 32;
    s.training.steps = std::min<index_t>(s.training.steps, 3);
    s.training.batch = std::min<index_t>(s.training.batch, 8);
}

}  // namespace

int main(int argc, char** argv) {
    classify::program_options o;
    CLI::App app("Trains a small classifier of CIFAR-10, whose features stand in for those of Inception-v3");
    app.add_option("--data", o.data, "folder of data_batch_1.bin .. 5 and test_batch.bin");
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for classifier.safetensors, report.json and report.html")
        ->capture_default_str();
    support::add_place_options(app, o.at);
    support::add_products_option(app, o.at);
    app.add_flag("--plan", o.plan_only, "say what training will cost, and stop before it");
    app.add_flag("--smoke", o.smoke, "a small run that takes seconds; without --data on made-up images");
    return support::run_program(app, "classifier", argc, argv, [&] {
        auto s = read_settings(o.config);
        if (o.smoke) {
            shrink(s);
            if (o.data.empty()) support::write_cifar_stand_in(o.data = o.out / "stand-in");
        }
        if (o.data.empty()) throw value_error("--data is missing");
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return classify::run_on_cuda(s, o);
        return classify::run_on_eigen(s, o);
    });
}
