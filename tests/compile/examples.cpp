// SPDX-License-Identifier: Apache-2.0
// The code of docs/how_do_i.md, docs/api.md and of docstrings, as it stands there (tools/check_snippets): compiled and run.
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <diem/diem.hpp>

namespace {

using backend = diem::eigen_backend<float>;
namespace posterior = diem::posterior;

// [euler]
struct euler {
    template <diem::Backend B, class M, class N>
    void step(B& b, M& model, diem::diffusion::step_info at, const N& /*noise*/, diem::view_t<B> x) const {
        diem::batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, at.sigma_t, x_hat.view());
        const double tau = 1 - at.sigma_s / at.sigma_t;  // x += tau (x_hat - x)
        b.axpby(tau, x_hat.cview(), 1 - tau, x);
    }
};
// [euler]

/// Ancestral: from sigma_t to sigma_s along the posterior of x_s given x_t and x_hat.
struct ancestral {
    template <diem::Backend B, class M, class N>
    // [noisy_step]
    void step(B& b, M& model, diem::diffusion::step_info at, const N& noise, diem::view_t<B> x) const {
        diem::batch<B> x_hat(b, x.features(), x.items()), z(b, x.features(), x.items());
        model.denoise(b, x, at.sigma_t, x_hat.view());
        noise.draw(b, diem::random_lane::sampler_noise, at.index, z.view());
        const double v = at.sigma_t * at.sigma_t - at.sigma_s * at.sigma_s, tau = v / (at.sigma_t * at.sigma_t);
        b.axpby(tau, x_hat.cview(), 1 - tau, x);
        b.axpby(std::sqrt(v) * at.sigma_s / at.sigma_t, z.cview(), 1.0, x);
    }
    // [noisy_step]
};

template <class Prior, class Observed>
void sample_by_euler(backend& b, Prior& prior, const Observed& observed, diem::batch<backend>& x) {
    // [own_sampler]
    diem::posterior::mmps posterior(b, prior, observed);
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear(5e-3, 20), euler{}, {.steps = 128},
                            diem::random_key{.seed = 3}, x.view());
    // [own_sampler]
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear(5e-3, 20), ancestral{}, {.steps = 8},
                            diem::random_key{.seed = 4}, x.view());
}

std::vector<double> judge(backend& b, const diem::batch<backend>& restored, const diem::batch<backend>& truth) {
    // [judge]
    // One number for each item, in dB: data in [-2, 2] have a range of 4.
    const auto decibels = diem::metrics::psnr<backend>(b, restored.cview(), truth.cview(), 4);
    // [judge]
    return decibels;
}

template <class Prior>
void restore_magnitudes(backend& b, Prior& prior, const posterior::sample_options<backend>& options,
                        const diem::batch<backend>& y, diem::batch<backend>& x) {
    // [nonlinear]
    const diem::linop::image_extent image{32, 32, 3};
    const auto f = diem::linop::fourier_magnitudes(b, image, 64, 64);  // or linop::jpeg, linop::clipping
    const auto observed = diem::posterior::observe(b, y.cview(), f, diem::linop::isotropic_covariance(f.rows(), 0.01));
    diem::posterior::sample(b, prior, observed, options, {.seed = 1}, x.view());  // options.mmps: tweedie
    // [nonlinear]
}

template <class Observed>
void several(backend& b, diem::prior::learned<backend>& prior, const Observed& observed) {
    const auto n = observed.items();
    // [several]
    auto how = prior.sample_options(b);
    how.sampling.samples_per_observation = 8;
    diem::batch<backend> x(b, prior.features(), 8 * n);  // sample s n + i belongs to observation i
    diem::posterior::sample_state state;
    diem::posterior::sample(b, prior, observed, how, {.seed = 1}, x.view(), state);
    // [several]
}

template <class Observed>
void held_out(backend& b, const Observed& observed, const diem::nn::mlp_config& network,
              const diem::prior::learn_options& options) {
    // [held_out]
    const auto held = diem::prior::hold_out(b, observed, 0.1, {.seed = 1});  // a tenth of what y has of x
    const auto learned = diem::prior::learn(b, held.kept(), network, options);
    std::puts(diem::prior::predict_held_out(b, learned.prior, held, {.seed = 2}).words().c_str());
    // [held_out]
}

template <class Observed>
void noise_level(backend& b, const diem::diffusion::gaussian<backend>& gaussian, const Observed& observed) {
    // [noise_level]
    const auto noise = diem::prior::noise_level_of(b, gaussian, observed, {.seed = 1});
    if (noise.is_off()) std::puts(noise.words().c_str());  // "the data look as if sigma_y were 2.00 times as large"
    // [noise_level]
}

template <class Observed>
void watch(backend& b, const Observed& observed, const diem::nn::mlp_config& network,
           const diem::prior::learn_options& options) {
    // [progress]
    diem::prior::run<backend> run;
    run.on_progress = [](const diem::prior::progress& p) { std::printf("%ld of %ld\n", long(p.done), long(p.total)); };
    run.on_lap = [](const diem::prior::lap_diagnostics& lap, auto samples, const auto& /*prior*/) {
        std::printf("lap %ld: %ld samples\n", long(lap.lap), long(samples.items()));
    };
    const auto learned = diem::prior::learn(b, observed, network, options, run);
    // [progress]
    std::puts(learned.report.c_str());
}

template <class Observed>
void learn(backend& b, const Observed& observed, const diem::prior::learn_options& options,
           const diem::prior::run<backend>& run) {
    // [learn]
    const auto learned = diem::prior::learn(b, observed, diem::nn::mlp_config{4, {256, 256}, 64}, options, run);
    // [learn]
    std::puts(learned.report.c_str());
}

template <class Observed>
void catch_errors(backend& b, const Observed& observed, const diem::nn::mlp_config& network,
                  const diem::prior::learn_options& options, const diem::prior::run<backend>& run) {
    // [errors]
    try {
        const auto learned = diem::prior::learn(b, observed, network, options, run);
    } catch (const diem::value_error& e) {  // an option, a size or a number that cannot be: what() names the argument
        std::fprintf(stderr, "%s\n", e.what());
    } catch (const diem::error& e) {  // all others: shape_error, io_error (files), config_error (JSON, another run)
        std::fprintf(stderr, "%s\n", e.what());
    }
    // [errors]
}

template <class Model, class Observation>
void choose_policies(backend& b, Model& model, const Observation& observation,
                     const diem::diffusion::gaussian<backend>& estimate) {
    // [policies]
    posterior::mmps(b, model, observation, posterior::tweedie{}, posterior::cg<>{.iterations = 1});
    posterior::mmps(b, model, observation, posterior::blended{estimate, 3.0}, posterior::fom{2});
    posterior::mmps(b, model, observation, posterior::tweedie{},
                    posterior::fom{2, posterior::preconditioned{estimate}});
    // [policies]
}

struct own_options {
    int rank = 1, layers = 1;
    double sigma_y = 1;
};
void read(const std::filesystem::path& path, own_options& options) {
    namespace io = diem::io;
    // [config]
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.required("rank", options.rank).at_least(1);
        c.optional("sigma_y", options.sigma_y).above(0.0);
        c.object("net", [&](io::config_object& net) { net.optional("layers", options.layers); });
    });
    // [config]
}
void work_in(const std::filesystem::path& out) {
    namespace io = diem::io;
    // [lock]
    const io::folder_lock lock(out);
    // [lock]
    io::save_json(out / "options.json", {{"rank", 3}, {"net", {{"layers", 2}}}});
}

}  // namespace

int main() {
    backend b(1);
    // [batches]
    std::vector<float> values(30 * 4);  // thirty items of four features, item after item
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(static_cast<float>(k * k));
    const auto x = diem::to_backend(b, values, 4, 30);  // in the memory of the backend
    const auto part = x.cview().item_range(1, 2);       // items 1 and 2: nothing is copied
    const std::vector<float> back = diem::to_host(b, part);
    // [batches]
    // [observation]
    const auto mask = diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 1, 0, 1}, 4, 1));
    const auto observed = diem::posterior::observe(b, x.cview(), mask, diem::linop::isotropic_covariance(4, 0.01));
    // [observation]
    // [check]
    const auto checked = diem::testing::check_operator(b, mask);
    std::puts(checked.text().c_str());
    // [check]
    const diem::nn::mlp_config network{.features = 4, .hidden = {8}, .embedding = 8};
    diem::prior::learn_options options;
    options.gaussian.ppca.rank = 1;
    options.gaussian.fit.max_laps = 2;
    options.em.laps = 1;
    options.em.training.steps = 2;
    options.em.sampling.steps = 4;
    watch(b, observed, network, options);
    learn(b, observed, options, {});
    catch_errors(b, observed, network, options, {});
    held_out(b, observed, network, options);
    auto learned = diem::prior::learn(b, observed, network, options);
    several(b, learned.prior, observed);
    noise_level(b, *learned.prior.estimate(), observed);
    choose_policies(b, learned.prior, observed, *learned.prior.estimate());
    diem::batch<backend> drawn(b, 4, 30);
    sample_by_euler(b, learned.prior, observed, drawn);
    const auto decibels = judge(b, drawn, x);
    own_options own;
    const auto folder = std::filesystem::temp_directory_path() / "diem_compile_examples";
    std::filesystem::create_directories(folder);
    work_in(folder);
    read(folder / "options.json", own);
    std::filesystem::remove_all(folder);
    const auto instantiated = &restore_magnitudes<diem::prior::learned<backend>>;
    return checked.passed() && own.layers == 2 && decibels.size() == 30 && back.size() == 8 && instantiated != nullptr
               ? 0
               : 1;
}
