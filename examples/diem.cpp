// SPDX-License-Identifier: Apache-2.0

// The library as a program, for data of one's own: observations as npy, operators and settings as JSON; fits a prior, draws
// from it and from its posteriors, compares. docs/command_line.md is its guide.

#include <functional>
#include <iostream>
#include <limits>
#include <string>
#include <type_traits>

#include <CLI/CLI.hpp>

#include "diem/commands.hpp"
#include "diem/files.hpp"
#include "diem/mri.hpp"
#include "support/completion.hpp"
#include "support/man_page.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"
#include "support/ranks.hpp"
#include "support/report.hpp"
#include "support/simd_note.hpp"
#include "support/terminal.hpp"

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
    "diem COMMAND --help explains a command. The exit status is 0 where the result can be trusted, 1 after an error, 2 "
    "for\n"
    "a wrong command line, and 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP: what there is was then saved.";

constexpr const char* operator_help =
    "Operators (files are relative to the JSON file):\n"
    "  {\"type\": \"identity\"}\n"
    "  {\"type\": \"mask\", \"values\": \"masks.npy\"}    0 and 1, of one item or of each; \"channels\": 3 where a "
    "value holds\n"
    "                                             for so many entries; hidden values of y may be NaN\n"
    "  {\"type\": \"dense\", \"matrix\": \"a.npy\"}       (rows, columns) for all items, or (items, rows, columns)\n"
    "  {\"type\": \"averaging\", \"shape\": [8, 8, 1], \"block\": 2}\n"
    "  {\"type\": \"mri\", \"mask\": \"mask.npy\", \"coils\": \"maps.npy\"}   k-space: npy, cfl, fastMRI, ISMRMRD; "
    "without\n"
    "                                             coils one coil and a real image; \"size\": [320, 320], \"fit\": "
    "\"crop\"\n"
    "Any of them with \"layout\": \"channels_first\" where y and the truth are (items, channels, height, width); "
    "identity\n"
    "and mask with \"mask\": \"nan\" where NaN in y means not seen.";

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
    "    \"held_out\": 0.05,                  keeps a share of y back, and says whether the prior predicts it\n"
    "    \"scale\": \"auto\",                   brings data to a spread of about 1; results are in your units\n"
    "    \"seed\": 0\n"
    "  }\n\n"
    "A U-Net: {\"type\": \"unet\", \"shape\": [32, 32, 3], \"hid_channels\": [16, 32, 64], \"hid_blocks\": [2, 2, 2], "
    "\"emb\": 64}.\n"
    "docs/command_line.md has all keys.\n\n";

constexpr const char* draw_files = "samples.npy, samples.png";

std::string version_text() {
    const auto e = support::environment();
    return "diem " + e["diem"].get<std::string>() + " (" + e["compiler"].get<std::string>() + ", " +
           e["instructions"].get<std::string>() + (e["assertions"].get<bool>() ? ", assertions" : "") +
           "; backends: eigen" + (support::has_cuda ? ", cuda)" : ")");
}

/// Where --backend says.
template <class Command>
int run(Command& o) {
    return support::on_ranks(o.at, [&] {
        constexpr bool shared = !std::is_same_v<Command, sample_command>;
        diem::check_value("mpirun", shared || o.at.ranks.size() == 1,
                          "fit, posterior and evaluate alone run on several processes");
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return run_on_cuda(o);
        return run_on_eigen(o);
    });
}

void add_draw_options(CLI::App& c, draw_command& o) {
    c.add_option(
         "checkpoint", o.checkpoint,
         "prior.safetensors of a fit, a file of its folder checkpoint/, or a network that tools/convert_network read")
        ->required();
    c.add_option("--out", o.out, "folder for the results")->required();
    c.add_option("--steps", o.steps, "of the sampler that a network needs, instead of the checkpoint's")
        ->check(support::count_in(1, support::most_steps));
    c.add_option("--batch", o.batch, "items at once, instead of the checkpoint's")
        ->check(support::count_in(1, most_items));
    c.add_option(
        "--set", o.changes,
        "KEY=VALUE: how it draws, instead of the checkpoint's, as sampler.name=ddpm or posterior.solver=cg (what a fit "
        "has under em); repeatable");
    c.add_option(
         "--image", o.image,
         "height width channels, instead of the checkpoint's; a U-Net without attention is brought to that size")
        ->expected(3)
        ->check(support::count_in(1, most_extent));
    c.add_option("--label", o.label, "class of what is drawn, of a network that was trained with classes")
        ->check(CLI::Range(diem::index_t{-1}, diem::index_t{most_extent}));
    c.add_option("--seed", o.seed, "of the random numbers")->check(support::any_seed())->capture_default_str();
    support::add_place_options(c, o.at);
    support::add_products_option(c, o.at);
}

/// How y = A x + e was, or will be, made.
void add_observation_options(CLI::App& c, path& description, std::string& sigma_y, std::string& layout) {
    c.add_option("--layout", layout, "channels_last, or channels_first: (items, channels, height, width)")
        ->check(CLI::IsMember({"channels_last", "channels_first"}));
    c.add_option("--operator", description, "JSON file, see below")->required();
    c.add_option("--sigma-y", sigma_y, "standard deviation of the noise: a number, or npy with one per row")
        ->required();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(overview);
    app.name("diem");
    app.require_subcommand(1);
    app.set_version_flag("--version", version_text);
    if (const auto note = support::instructions_note(); !note.empty()) app.footer("Note: " + note + ".");
    bool quiet = false, json = false;
    app.add_flag("--quiet", quiet, "no words and no bars; warnings and errors are said");
    app.fallthrough();  // subcommands take it, too
    const auto add_json = [&](CLI::App* to) {
        to->add_flag("--json", json, "the result as JSON on standard output, instead of words");
    };
    std::function<int()> command;

    fit_command f;
    auto* c = app.add_subcommand("fit", "learn a prior from observations");
    c->footer(
        std::string(fit_help) + operator_help +
        "\n\nExample: diem fit fit.json --out run\n"
        "Writes gaussian.safetensors, prior.safetensors (the result), report.json, pictures where x is an image, and\n"
        "checkpoint/ of a network. Ctrl-C, SIGTERM and SIGHUP save and stop; --resume goes on where it was.");
    c->add_option("config", f.config, "JSON file, see below")->required();
    c->add_option("--out", f.out, "folder for the results")->required();
    support::add_place_options(*c, f.at);
    support::add_products_option(*c, f.at);
    support::add_ranks_option(*c, f.at);
    auto* resume = c->add_flag("--resume", f.resume, "go on with the run in --out");
    c->add_flag("--overwrite", f.overwrite, "begin anew in --out, where there is a run")->excludes(resume);
    c->add_option("--save-every", f.save_every, "seconds between checkpoints inside a lap")
        ->check(support::number_in(0, 1e9))
        ->capture_default_str();
    c->add_option("--memory-limit", f.memory_limit, "GiB; what needs more is not begun (default: what there is)")
        ->check(support::number_in(1e-6, 1e6));
    c->add_option("--scratch", f.scratch,
                  "folder on a disk: observations and samples stay in files there, not in memory (default: in --out, "
                  "where they are more than the memory limit)")
        ->check(CLI::ExistingDirectory);
    c->add_option("--held-out", f.held_out,
                  "share of the values of y that is kept back, and predicted when the prior is learned (default: none)")
        ->check(support::number_in(0, 0.5));
    add_json(c);
    c->add_flag("--plan", f.plan, "check everything, say what it will cost, and stop");
    c->callback([&] { command = [&] { return run(f); }; });

    sample_command s;
    c = app.add_subcommand("sample", "draw from a prior");
    c->footer(std::string("Example: diem sample run/prior.safetensors --count 256 --out drawn\nWrites ") + draw_files +
              " (the first 64), where x is an image.");
    add_draw_options(*c, s);
    add_json(c);
    c->add_option("--count", s.count, "samples")->check(support::count_in(1, most_items))->capture_default_str();
    c->callback([&] { command = [&] { return run(s); }; });

    posterior_command p;
    c = app.add_subcommand("posterior", "draw from p(x | y) for observations");
    c->footer(std::string(operator_help) +
              "\n\nExample: diem posterior run/prior.safetensors y.npy --operator operator.json --sigma-y 0.01 --out "
              "restored\n"
              "Writes samples.npy (items, samples, ...), mean.npy and, of two samples or more, std.npy (items, ...), "
              "and where x\n"
              "is an image observed.png, samples.png (the first sample), mean.png and std.png (white: the largest) of "
              "the first\n"
              "16 observations. Samples that do not fit the data are an error, see \"data residual\" in "
              "docs/command_line.md.");
    add_draw_options(*c, p);
    support::add_ranks_option(*c, p.at);
    add_json(c);
    c->add_option("observations", p.observations,
                  "y: (items, rows), or images; of the operator mri one or more files of k-space")
        ->required();
    add_observation_options(*c, p.description, p.sigma_y, p.layout);
    c->add_option(
        "--scale", p.scale,
        "x is that of the prior times this number, instead of the prior's own; auto: the largest value of A' y is 2");
    c->add_option("--formats", p.formats, "of the results: npy, cfl, hdf5 (reconstruction.h5)")
        ->delimiter(',')
        ->check(CLI::IsMember({"npy", "cfl", "hdf5"}))
        ->capture_default_str();
    c->add_option("--samples", p.samples, "of each observation")
        ->check(support::count_in(1, most_items))
        ->capture_default_str();
    c->callback([&] { command = [&] { return run(p); }; });

    evaluate_command e;
    c = app.add_subcommand("evaluate", "compare samples with the truth");
    c->footer(
        "PSNR and, for images, SSIM where samples belong to items of the truth: as many samples as items, or\n"
        "(items, samples, ...) as diem posterior writes. The squared Frechet distance of the two sets, divided by\n"
        "the square of the data range, and in up to 16 dimensions their Sinkhorn divergence. With --coverage, of "
        "posterior\n"
        "samples: how often the truth lies in the central 50, 80 and 95 % of its samples, the ranks of the truth "
        "among\n"
        "them, and the energy score (less is better).\n\n"
        "Example: diem evaluate restored/samples.npy data/truth.npy --json figures.json\n"
        "         diem evaluate drawn/samples.npy data/truth.npy --unpaired");
    c->add_option("samples", e.samples, "npy")->required();
    c->add_option("truth", e.truth, "npy, items first")->required();
    c->add_option("--data-range", e.data_range, "greatest minus least possible value: 4 for data in [-2, 2]")
        ->check(support::number_in(support::least_level, support::most_level))
        ->capture_default_str();
    c->add_option("--image", e.image, "height width channels, instead of the truth's shape")
        ->expected(3)
        ->check(support::count_in(1, most_extent));
    c->add_option(
         "--inception", e.inception,
         "weights of Inception-v3 (tools/convert_inception): also FID and Inception score of images of colour in "
         "[-2, 2]; the truth's features are kept in a file beside it")
        ->check(CLI::ExistingFile);
    c->add_option("--regularization", e.regularization, "of the Sinkhorn divergence, squared distance")
        ->check(support::number_in(support::least_level, support::most_level))
        ->capture_default_str();
    c->add_flag("--unpaired", e.unpaired, "samples of the prior: no sample belongs to an item of the truth");
    c->add_flag("--full", e.full, "also what takes long: both distances in any number of dimensions");
    c->add_flag("--coverage", e.coverage, "whether the samples of each item are spread as the truth is");
    c->add_option("--layout", e.layout, "of the truth: channels_last, or channels_first")
        ->check(CLI::IsMember({"channels_last", "channels_first"}))
        ->capture_default_str();
    c->add_option("--json", e.json, "file for the figures; - or none: standard output, instead of words")
        ->expected(0, 1)
        ->default_str("-");
    support::add_place_options(*c, e.at);
    support::add_ranks_option(*c, e.at);
    c->callback([&] { command = [&] { return run(e); }; });

    info_command i;
    c = app.add_subcommand("info", "say what a checkpoint holds");
    c->footer("Example: diem info run/prior.safetensors");
    c->add_option("checkpoint", i.checkpoint, "a safetensors file of diem")->required();
    add_json(c);
    c->callback([&] { command = [&] { return info(i); }; });

    c = app.add_subcommand("doctor", "say where this program runs, for reports of errors");
    c->footer("Example: diem doctor --json");
    add_json(c);
    c->callback([&] { command = [] { return doctor(); }; });

    report_command q;
    c = app.add_subcommand("report", "write the page of a run again, or compare two runs");
    c->footer(
        "Makes report.html again of report.json and the pictures beside it, as fit and the programs beside diem write "
        "it;\n"
        "of two runs one page that shows them beside each other.\n\n"
        "Example: diem report run\n"
        "         diem report run other --out comparison.html");
    c->add_option("folders", q.folders, "of one run, or of two")->required()->expected(1, 2);
    c->add_option("--out", q.out, "the page (default: report.html in the folder; of two runs comparison.html here)");
    add_json(c);
    c->callback([&] { command = [&] { return report(q); }; });

    observe_command v;
    c = app.add_subcommand("observe", "simulate observations y = A x + e of a truth");
    c->footer(
        std::string(operator_help) +
        "\nTo be drawn, other ones for each item: {\"type\": \"mask\", \"keep\": 0.25} (a share of the values) and\n"
        "{\"type\": \"dense\", \"rows\": 2} (random directions).\n\n"
        "Example: diem observe images.npy --range 0 255 --operator mask.json --sigma-y 0.01 --out data\n"
        "Writes y.npy, truth.npy (scaled), operator.json, and masks.npy or matrices.npy where they were drawn.");
    c->add_option("truth", v.truth, "npy, items first")->required();
    add_observation_options(*c, v.description, v.sigma_y, v.layout);
    c->add_option("--out", v.out, "folder for the results")->required();
    c->add_option("--range", v.range, "the truth's values from LOW to HIGH are brought to [-2, 2]")->expected(2);
    c->add_option("--first", v.first, "item to begin with")
        ->check(support::count_in(0, std::numeric_limits<diem::index_t>::max()))
        ->capture_default_str();
    c->add_option("--count", v.count, "items; all if left out")->check(support::count_in(1, most_items));
    c->add_option("--seed", v.seed, "of the random numbers")->check(support::any_seed())->capture_default_str();
    add_json(c);
    c->callback([&] { command = [&] { return observe(v); }; });

    convert_command w;
    c = app.add_subcommand("convert", "write an array in another format");
    c->footer(formats_of_arrays() +
              "\nFILE::NAME is a data set, variable or extension of a file.\n"
              "Example: diem convert restored/mean.npy mean.fits\n"
              "         diem convert restored/mean.npy pictures/mean.png --range -2 2");
    c->add_option("in", w.in, "an array")->required();
    c->add_option("out", w.out, "by its extension: .npy, .cfl, .h5, .mat, .fits, .tif, .png")->required();
    c->add_option("--range", w.range, "of values that become black and white, for .png")->expected(2);
    add_json(c);
    c->callback([&] { command = [&] { return convert(w); }; });

    mri_command k;
    auto* mri =
        app.add_subcommand("mri", "before a reconstruction from k-space: coil maps, whitening, what is in a file");
    mri->require_subcommand(1);
    mri->footer(
        "K-space: npy or HDF5 (FILE::NAME) with complex numbers, (coils, height, width) or (slices, coils, height, "
        "width);\n"
        "BART's cfl, fastMRI, ISMRMRD. Height is the readout, width the phase encoding.");
    const auto add_mri = [&](const char* name, const char* what, const char* example,
                             int (*action)(const mri_command&)) {
        auto* sub = mri->add_subcommand(name, what);
        sub->footer(std::string("Example: ") + example);
        sub->add_option("kspace", k.kspace, "a file of k-space")->required();
        if (action != mri_info) sub->add_option("--out", k.out, ".npy or .cfl")->required();
        add_json(sub);
        sub->callback([&command, &k, action] { command = [&k, action] { return action(k); }; });
        return sub;
    };
    const auto add_noise = [&k](CLI::App* sub) {
        return sub->add_option("--noise", k.noise, "a noise scan, complex (coils, samples), instead of the file's own");
    };
    c = add_mri("maps", "sensitivities of the coils, by ESPIRiT, of the lines for calibration where there are such",
                "diem mri maps scan.h5 --whiten --out maps.npy", mri_maps);
    add_noise(c)->needs(c->add_flag("--whiten", k.whiten, "first, as diem mri whiten does: maps of its k-space"));
    c->add_option("--calibration", k.calibration, "side of the square in the centre of k-space, at most")
        ->check(support::count_in(1, most_extent))
        ->capture_default_str();
    c->add_option("--kernel", k.kernel, "side of the kernels")->check(support::count_in(1, 64))->capture_default_str();
    c->add_option("--threshold", k.threshold, "of singular values")
        ->check(support::number_in(1e-6, 0.999))
        ->capture_default_str();
    c->add_option("--crop", k.crop, "of eigenvalues: maps are zero below")
        ->check(support::number_in(0, 1))
        ->capture_default_str();
    add_noise(add_mri(
        "whiten", "make the noise of the coils white; lines for calibration alone go into OUT_calibration beside it",
        "diem mri whiten scan.h5 --out white.cfl", mri_whiten));
    add_mri("info", "say what a file of k-space holds", "diem mri info scan.h5", mri_info);
    std::string shell;
    c = app.add_subcommand("completion", "write what completes command lines in a shell");
    c->footer(
        "Example: source <(diem completion bash)\n"
        "         diem completion zsh > DIR/_diem      where DIR is in $fpath, before compinit");
    c->add_option("shell", shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
    c->callback([&] {
        command = [&] {
            std::cout << (shell == "bash" ? support::bash_completion(app) : support::zsh_completion(app));
            return 0;
        };
    });
    c = app.add_subcommand("man-page", "write the manual as roff")->group("");  // for packages
    c->callback([&] {
        command = [&] {
            std::cout << support::man_page(app, diem::version, "learns a diffusion prior from corrupted observations");
            return 0;
        };
    });

    return support::run_program(app, "diem", argc, argv, [&] {
        support::talk(quiet, json || e.json == "-");
        return command();
    });
}
