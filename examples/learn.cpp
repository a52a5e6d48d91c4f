// SPDX-License-Identifier: Apache-2.0

// Handwritten digits of which half of the pixels are deleted: a prior is learned from 1536 of them, kept in a file, and
// restores others. The three calls of README: learn, save and load, sample.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <diem/diem.hpp>

using backend = diem::eigen_backend<float>;

namespace {

struct digits {
    diem::batch<backend> truth, masks, y;
};

/// Digits first .. first + count - 1 in [-2, 2], half of their pixels, noise 0.01.
digits observe(backend& b, const std::string& file, diem::index_t first, diem::index_t count, std::uint64_t seed) {
    const auto pixels = diem::io::load_npy<std::uint8_t>(file);
    diem::check_value("learn", pixels.size() >= 64 * (first + count),
                      file + ": has " + std::to_string(pixels.size() / 64) +
                          " digits of 8 x 8 pixels, expected at least " + std::to_string(first + count));
    std::vector<float> values(static_cast<std::size_t>(64 * count));
    for (std::size_t k = 0; k < values.size(); ++k)
        values[k] = static_cast<float>(pixels.data[static_cast<std::size_t>(64 * first) + k]) / 4 - 2;
    digits d{diem::to_backend(b, values, 64, count), {b, 64, count}, {b, 64, count}};
    diem::linop::draw_mask<backend>(b, {.seed = seed, .lane = diem::random_lane::user}, 0.5, 1, d.masks.view());
    diem::posterior::simulate<backend>(b, diem::linop::mask<backend>::per_item(d.masks.view()),
                                       diem::linop::isotropic_covariance(64, 1e-4), d.truth.cview(),
                                       {.seed = seed, .lane = diem::random_lane::user + 1}, d.y.view());
    return d;
}

diem::index_t number(const std::string& text) {
    if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
        throw diem::value_error("\"" + text + "\": expected a number");
    return std::stol(text);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 2) {
        std::puts("usage: learn examples/data/digits/digits_8x8.npy [LAPS [STEPS]]");
        return 2;
    }
    backend b;
    const digits train = observe(b, argv[1], 0, 1536, 1), test = observe(b, argv[1], 1536, 261, 2);
    // [observe]
    // What was measured, y = A x + e: here masks, one for each item, and noise of standard deviation 0.01.
    const auto seen =
        diem::posterior::observe(b, train.y.cview(), diem::linop::mask<backend>::per_item(train.masks.view()),
                                 diem::linop::isotropic_covariance(64, 0.01 * 0.01));
    // [observe]
    const auto others =
        diem::posterior::observe(b, test.y.cview(), diem::linop::mask<backend>::per_item(test.masks.view()),
                                 diem::linop::isotropic_covariance(64, 0.01 * 0.01));
    const diem::index_t laps = argc > 2 ? number(argv[2]) : 4, steps = argc > 3 ? number(argv[3]) : 1000;

    // [learn]
    diem::prior::learn_options options;  // the defaults work; the paper's settings are in diem::prior::presets
    options.gaussian.ppca = {.rank = 32, .rest = diem::train::rest::diagonal};
    options.em.laps = laps;
    options.em.training.steps = steps;
    diem::prior::run<backend> run{.folder = "run", .overwrite = true};  // saved here; .resume goes on with it
    run.on_lap = [](const diem::prior::lap_diagnostics& lap, auto&&...) {
        std::printf("lap %ld: data residual %.2f, loss %.3f\n", long(lap.lap), lap.data_residual, lap.loss);
    };
    const diem::nn::mlp_config network{.features = 64, .hidden = {256, 256, 256}, .embedding = 64};
    const auto learned = diem::prior::learn(b, seen, network, options, run);
    std::puts(learned.report.c_str());
    diem::prior::save("prior.safetensors", b, learned.prior);
    // [learn]

    // [sample]
    const auto prior = diem::prior::load<backend>("prior.safetensors", b);  // also in another program
    diem::batch<backend> x(b, prior.features(), test.y.items());
    const auto state = diem::posterior::sample(b, prior, others, {.seed = 1}, x.view());
    std::printf("data residual %.2f\n", state.data_residual());  // near 1 where samples fit the data as the noise does
    const std::vector<float> values = diem::to_host(b, x);       // item after item
    // [sample]

    double error = 0;
    for (const double e : diem::metrics::mean_squared_error(b, x.cview(), test.truth.cview())) error += e;
    const double psnr = 10 * std::log10(16.0 * static_cast<double>(x.items()) / error);
    std::printf("first values %.2f %.2f %.2f ...\n", double(values[0]), double(values[1]), double(values[2]));
    std::printf("PSNR of one posterior sample of held-out digits: %.2f dB\n", psnr);
    return learned.status == diem::prior::run_status::completed && psnr >= 10 ? 0 : 1;
} catch (const std::exception& e) {
    std::fprintf(stderr, "learn: %s\n", e.what());
    return 1;
}
