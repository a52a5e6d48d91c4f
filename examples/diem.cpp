// SPDX-License-Identifier: Apache-2.0

// The library as a program, for data of one's own: observations as npy, operators and settings as JSON; fits a prior, draws
// from it and from its posteriors, compares. docs/command_line.md is its guide.

#include <algorithm>
#include <exception>
#include <functional>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "diem/commands.hpp"
#include "support/place_options.hpp"

using namespace program;

namespace {

constexpr const char* overview =
    "Learns a prior p(x) from observations y = A x + e alone, and samples p(x | y).\n\n"
    "Arrays are npy files with items first; images are (items, height, width, channels). Data should lie in about\n"
    "[-2, 2]: pictures show -2 as black and 2 as white. A first walk, on the digits of examples/data:\n\n"
    "  echo '{\"type\": \"mask\", \"keep\": 0.25}' > mask.json\n"
    "  diem observe examples/data/digits/digits_8x8.npy --range 0 16 --operator mask.json --sigma-y 0.01 --out data\n"
    "  echo '{\"observations\": \"data/y.npy\", \"operator\": \"data/operator.json\", \"sigma_y\": 0.01}' > fit.json\n"
    "  diem fit fit.json --out run\n"
    "  diem posterior run/prior.safetensors data/y.npy --operator data/operator.json --sigma-y 0.01 --out restored\n"
    "  diem evaluate restored/samples.npy data/truth.npy\n\n"
    "diem COMMAND --help explains a command.";

constexpr const char* operator_help =
    "Operators (files are relative to the JSON file):\n"
    "  {\"type\": \"identity\"}\n"
    "  {\"type\": \"mask\", \"values\": \"masks.npy\"}    0 and 1, of one item or of each; \"channels\": 3 where a "
    "value holds\n"
    "                                             for so many entries; hidden values of y may be NaN\n"
    "  {\"type\": \"dense\", \"matrix\": \"a.npy\"}       (rows, columns) for all items, or (items, rows, columns)\n"
    "  {\"type\": \"averaging\", \"shape\": [8, 8, 1], \"block\": 2}";

constexpr const char* fit_help =
    "Fits a Gaussian prior, then, where the configuration has a network, a diffusion prior by EM from it.\n"
    "The configuration; the first three keys are required, file names are relative to it:\n\n"
    "  {\n"
    "    \"observations\": \"y.npy\",            (items, rows), or images\n"
    "    \"operator\": \"operator.json\",        or the operator itself\n"
    "    \"sigma_y\": 0.01,                    or an npy file with one number per row\n"
    "    \"image\": [8, 8, 1],                 of x, for pictures; read off y where that is a masked image\n"
    "    \"gaussian\": {\"rank\": 64, \"laps\": 16, \"e_step\": \"moments\", \"rest\": \"isotropic\"},\n"
    "    \"network\": {\"type\": \"mlp\", \"features\": 64, \"hidden\": [256, 256, 256], \"emb\": 64},   none if left "
    "out\n"
    "    \"em\": {\"laps\": 32, \"sampler\": {\"steps\": 64}, \"training\": {\"steps\": 1000, \"batch\": 256}},\n"
    "    \"seed\": 0\n"
    "  }\n\n"
    "A U-Net: {\"type\": \"unet\", \"shape\": [32, 32, 3], \"hid_channels\": [16, 32, 64], \"hid_blocks\": [2, 2, 2], "
    "\"emb\": 64}.\n"
    "docs/command_line.md has all keys.\n\n";

constexpr const char* draw_files = "samples.npy, samples.png";

/// One line: CLI11's messages may have several.
std::string one_line(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

/// Where --backend says.
template <class Command>
int run(Command& o) {
    support::choose(o.at);
    if constexpr (support::has_cuda)
        if (o.at.backend == "cuda") return run_on_cuda(o);
    return run_on_eigen(o);
}

void add_draw_options(CLI::App& c, draw_command& o) {
    c.add_option("checkpoint", o.checkpoint, "prior.safetensors of a fit, or a file of its folder checkpoint/")
        ->required();
    c.add_option("--out", o.out, "folder for the results")->required();
    c.add_option("--steps", o.steps, "of the sampler, instead of the checkpoint's")->check(CLI::PositiveNumber);
    c.add_option("--batch", o.batch, "items at once, instead of the checkpoint's")->check(CLI::PositiveNumber);
    c.add_option("--image", o.image, "height width channels, instead of the checkpoint's")
        ->expected(3)
        ->check(CLI::PositiveNumber);
    c.add_option("--seed", o.seed, "of the random numbers")->capture_default_str();
    support::add_place_options(c, o.at);
    support::add_products_option(c, o.at);
}

/// How y = A x + e was, or will be, made.
void add_observation_options(CLI::App& c, path& description, std::string& sigma_y) {
    c.add_option("--operator", description, "JSON file, see below")->required();
    c.add_option("--sigma-y", sigma_y, "standard deviation of the noise: a number, or npy with one per row")
        ->required();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(overview);
    app.name("diem");
    app.require_subcommand(1);
    std::function<int()> command;

    fit_command f;
    auto* c = app.add_subcommand("fit", "learn a prior from observations");
    c->footer(
        std::string(fit_help) + operator_help +
        "\n\nExample: diem fit fit.json --out run\n"
        "Writes gaussian.safetensors, prior.safetensors (the result), report.json, pictures where x is an image, and\n"
        "checkpoint/ of a network. Ctrl-C saves and stops; --resume goes on where it was.");
    c->add_option("config", f.config, "JSON file, see below")->required();
    c->add_option("--out", f.out, "folder for the results")->required();
    support::add_place_options(*c, f.at);
    support::add_products_option(*c, f.at);
    auto* resume = c->add_flag("--resume", f.resume, "go on with the run in --out");
    c->add_flag("--overwrite", f.overwrite, "begin anew in --out, where there is a run")->excludes(resume);
    c->add_flag("--plan", f.plan, "check everything, say what it will cost, and stop");
    c->callback([&] { command = [&] { return run(f); }; });

    sample_command s;
    c = app.add_subcommand("sample", "draw from a prior");
    c->footer(std::string("Example: diem sample run/prior.safetensors --count 256 --out drawn\nWrites ") + draw_files +
              " (the first 64), where x is an image.");
    add_draw_options(*c, s);
    c->add_option("--count", s.count, "samples")->check(CLI::PositiveNumber)->capture_default_str();
    c->callback([&] { command = [&] { return run(s); }; });

    posterior_command p;
    c = app.add_subcommand("posterior", "draw from p(x | y) for observations");
    c->footer(
        std::string(operator_help) +
        "\n\nExample: diem posterior run/prior.safetensors y.npy --operator operator.json --sigma-y 0.01 --out "
        "restored\n"
        "Writes samples.npy (items, samples, ...), mean.npy (items, ...) and, where x is an image, observed.png,\n"
        "samples.png (the first sample) and mean.png of the first 16 observations.");
    add_draw_options(*c, p);
    c->add_option("observations", p.observations, "y, npy: (items, rows), or images")->required();
    add_observation_options(*c, p.description, p.sigma_y);
    c->add_option("--samples", p.samples, "of each observation")->check(CLI::PositiveNumber)->capture_default_str();
    c->callback([&] { command = [&] { return run(p); }; });

    evaluate_command e;
    c = app.add_subcommand("evaluate", "compare samples with the truth");
    c->footer(
        "PSNR and, for images, SSIM where samples belong to items of the truth: as many samples as items, or\n"
        "(items, samples, ...) as diem posterior writes. The squared Frechet distance of the two sets, divided by\n"
        "the square of the data range, and in up to 16 dimensions their Sinkhorn divergence.\n\n"
        "Example: diem evaluate restored/samples.npy data/truth.npy --json figures.json\n"
        "         diem evaluate drawn/samples.npy data/truth.npy --unpaired");
    c->add_option("samples", e.samples, "npy")->required();
    c->add_option("truth", e.truth, "npy, items first")->required();
    c->add_option("--data-range", e.data_range, "greatest minus least possible value: 4 for data in [-2, 2]")
        ->capture_default_str();
    c->add_option("--image", e.image, "height width channels, instead of the truth's shape")
        ->expected(3)
        ->check(CLI::PositiveNumber);
    c->add_option("--regularization", e.regularization, "of the Sinkhorn divergence, squared distance")
        ->capture_default_str();
    c->add_flag("--unpaired", e.unpaired, "samples of the prior: no sample belongs to an item of the truth");
    c->add_flag("--full", e.full, "also what takes long: both distances in any number of dimensions");
    c->add_option("--json", e.json, "file for the figures");
    support::add_place_options(*c, e.at);
    c->callback([&] { command = [&] { return run(e); }; });

    info_command i;
    c = app.add_subcommand("info", "say what a checkpoint holds");
    c->footer("Example: diem info run/prior.safetensors");
    c->add_option("checkpoint", i.checkpoint, "a safetensors file of diem")->required();
    c->add_flag("--json", i.json, "as JSON");
    c->callback([&] { command = [&] { return info(i); }; });

    observe_command v;
    c = app.add_subcommand("observe", "simulate observations y = A x + e of a truth");
    c->footer(
        std::string(operator_help) +
        "\nTo be drawn, other ones for each item: {\"type\": \"mask\", \"keep\": 0.25} (a share of the values) and\n"
        "{\"type\": \"dense\", \"rows\": 2} (random directions).\n\n"
        "Example: diem observe images.npy --range 0 255 --operator mask.json --sigma-y 0.01 --out data\n"
        "Writes y.npy, truth.npy (scaled), operator.json, and masks.npy or matrices.npy where they were drawn.");
    c->add_option("truth", v.truth, "npy, items first")->required();
    add_observation_options(*c, v.description, v.sigma_y);
    c->add_option("--out", v.out, "folder for the results")->required();
    c->add_option("--range", v.range, "the truth's values from LOW to HIGH are brought to [-2, 2]")->expected(2);
    c->add_option("--first", v.first, "item to begin with")->capture_default_str();
    c->add_option("--count", v.count, "items; all if left out");
    c->add_option("--seed", v.seed, "of the random numbers")->capture_default_str();
    c->callback([&] { command = [&] { return observe(v); }; });

    try {
        app.parse(argc, argv);
        return command();
    } catch (const CLI::Success& done) {
        return app.exit(done);  // --help
    } catch (const CLI::ParseError& error) {
        std::cerr << "diem: " << one_line(error.what()) << " (diem --help explains)\n";
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "diem: " << one_line(error.what()) << '\n';
        return 1;
    }
}
