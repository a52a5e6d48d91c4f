// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/noise.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/ddpm_unet.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/train/trainer.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/networks.cpp on any backend.
namespace networks {

using namespace diem;

struct net {
    nn::unet_config config;
    index_t items, train_items;
};
inline net small() {
    return {{32, 32, 3, 1, {32, 64, 128}, {2, 2, 2}, 128, {{2, 4}}}, smoke() ? 1 : 16, smoke() ? 1 : 64};
}
inline net cifar() {
    return {{32, 32, 3, 1, {128, 256, 384}, {5, 5, 5}, 256, {{1, 4}}}, smoke() ? 1 : 4, smoke() ? 1 : 4};
}

/// The batch of the paper, for a device.
inline net cifar_256() {
    net n = cifar();
    n.items = n.train_items = 256;
    return n;
}

/// EDM's DDPM++ of CIFAR-10: 55.7 M parameters.
struct ddpm_net {
    nn::ddpm_unet_config config;
    index_t items;
};
inline ddpm_net ddpmpp() {
    nn::ddpm_unet_config c{.height = 32, .width = 32, .channels = 3};
    if (smoke()) c.stem = 32, c.hid_channels = {32, 32}, c.hid_blocks = 1;
    return {c, smoke() ? 1 : 4};
}

/// ADM of ImageNet 64x64 without classes.
inline ddpm_net adm64() {
    nn::ddpm_unet_config c{.height = 64, .width = 64, .channels = 3, .stem = 192};
    c.hid_channels = {192, 384, 576, 768};
    c.hid_blocks = 3;
    c.attention = {1, 2, 3};
    c.attend_all = c.scale_shift = true;
    c.skip_conv = false;
    c.head_channels = 64;
    c.noise_channels = 192;
    c.embedding = 768;
    c.group_channels = 1;
    c.epsilon = 1e-5;
    c.residual_scale = 1;
    if (smoke())
        c.height = c.width = 16, c.stem = c.noise_channels = 64, c.hid_channels = {64, 128}, c.hid_blocks = 1,
        c.attention = {1};
    return {c, smoke() ? 1 : 4};
}

/// Work that is not counted.
inline double flop(const nn::ddpm_unet_config&) { return 0; }
/// 2 x multiply-adds of a forward pass of one item.
inline double flop(const nn::unet_config& c) {
    const auto conv = [](double in, double out, double s) { return 18 * in * out * s * s; };
    const auto number = [](index_t n) { return static_cast<double>(n); };
    const double first = number(c.hid_channels[0]), size = number(c.height);
    double total = conv(3, first, size) + 6 * first * size * size;
    for (std::size_t i = 0; i < c.hid_channels.size(); ++i) {
        const double s = size / std::pow(2.0, static_cast<double>(i)), w = number(c.hid_channels[i]);
        const double blocks = 2 * number(c.hid_blocks[i]);
        total += blocks * 2 * conv(w, w, s);
        if (c.heads.count(static_cast<index_t>(i)) > 0) total += blocks * (8 * w * w * s * s + 4 * w * s * s * s * s);
        if (i > 0) total += conv(number(c.hid_channels[i - 1]), w, s);
        if (i + 1 < c.hid_channels.size()) total += conv(w + number(c.hid_channels[i + 1]), w, s);
    }
    return total;
}

template <Backend B>
void finish(benchmark::State& state, const B& b, double work) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    state.counters["peak_mb"] = static_cast<double>(usage.ru_maxrss) / 1024;
    state.counters["pool_mb"] = static_cast<double>(b.memory().peak_bytes()) / (1 << 20);
    if (work > 0)
        state.counters["gflops"] = benchmark::Counter(work * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

template <Backend B, class Network>
auto make_model(B& b, Network network) {
    model::preconditioned<B, Network> m(b, std::move(network));
    m.initialize(b, random_key{3});
    return m;
}
template <Backend B>
auto make_unet(B& b, const net& n) {
    return make_model(b, nn::unet<B>(n.config));
}
template <Backend B>
auto make_unet(B& b, const ddpm_net& n) {
    return make_model(b, nn::ddpm_unet<B>(n.config));
}

enum class product { forward, vjp, jvp };

template <Backend B, class Net>
void derivative(benchmark::State& state, const Net& n, product what) {
    auto b = make_backend<B>();
    auto m = make_unet(b, n);
    const auto x = draw(b, m.features(), n.items, 0), u = draw(b, m.features(), n.items, 1);
    batch<B> y(b, m.features(), n.items);
    if (what == product::forward) {
        const auto step = [&] { m.denoise(b, x.view(), 1.0, y.view()); };
        step();
        if (!finite(b, y.cview())) return fail(state, "not finite");
        timed(state, b, step);
    } else {
        const auto l = m.linearize(b, x.view(), 1.0);
        const auto j = l.jacobian();
        batch<B> z(b, m.features(), n.items);
        j.apply(b, u.view(), y.view());
        j.apply_adjoint(b, x.view(), z.view());
        const double left = inner(b, x.view(), y.cview()), right = inner(b, z.cview(), u.view());
        const double scale = std::sqrt(inner(b, x.view(), x.view()) * inner(b, y.cview(), y.cview()));
        const double rounding = products() == product_precision::float32 ? 1e-5 : 1e-2;
        if (!(std::abs(left - right) <= rounding * scale)) return fail(state, "<x, J u> differs from <J'x, u>");
        timed(state, b, [&] {
            if (what == product::vjp)
                j.apply_adjoint(b, u.view(), y.view());
            else
                j.apply(b, u.view(), y.view());
        });
    }
    finish(state, b, static_cast<double>(n.items) * flop(n.config));
}

template <Backend B, class Net>
void mmps_step(benchmark::State& state, const Net& n, index_t iterations) {
    auto b = make_backend<B>();
    auto m = make_unet(b, n);
    batch<B> mask(b, m.features(), n.items), y(b, m.features(), n.items), x_hat(b, m.features(), n.items);
    linop::draw_mask(b, {1, random_lane::user, 0, 0}, 0.25, 3, mask.view());
    const auto truth = draw(b, m.features(), n.items, 0), x = draw(b, m.features(), n.items, 1);
    const linop::isotropic_covariance noise{m.features(), 1e-6};
    const auto a = linop::mask<B>::per_item(mask.view());
    posterior::simulate(b, a, noise, truth.view(), {1, random_lane::observation, 0, 0}, y.view());
    posterior::mmps p(b, m, posterior::observe(b, y.cview(), a, noise), {.max_iterations = iterations});
    const auto step = [&] { p.denoise(b, x.view(), 1.0, x_hat.view()); };
    step();
    if (!finite(b, x_hat.cview())) return fail(state, "not finite");
    timed(state, b, step);
    finish(state, b, static_cast<double>(n.items) * flop(n.config) * static_cast<double>(1 + iterations));
}

/// One more step of the optimiser at each call.
template <Backend B, class Model, parallel::Communicator C = parallel::self>
void train_step(benchmark::State& state, B& b, Model& m, index_t items, double work, double sigma_max,
                const C& ranks = {}) {
    const auto data = draw(b, m.features(), items, 0);
    train::training_options o;
    o.batch = items;
    o.steps = 0;
    o.loss.sigma_max = sigma_max;
    o.loss.micro_batch = std::stoi(from_environment("DIEM_MICRO_BATCH", "0"));
    if (from_environment("DIEM_MOMENTS", "float32") == "bf16") o.adam.moments = train::moment_precision::bf16;
    auto training = train::start_training(b, m, o, 1);
    const auto step = [&] {
        ++o.steps;
        return train::fit_denoiser<B>(b, m, data.view(), o, training, {}, ranks);
    };
    const auto report = step();
    if (report.status != train::training_status::completed) return fail(state, "not finite");
    timed(state, b, step);
    finish(state, b, 3 * work);
}

template <Backend B>
void train_unet(benchmark::State& state, const net& n) {
    auto b = make_backend<B>();
    auto m = make_unet(b, n);
    train_step(state, b, m, n.train_items, static_cast<double>(n.train_items) * flop(n.config), 1e2);
}

template <Backend B>
struct mlp_case {
    static constexpr index_t features = 5, rows = 2;
    index_t items = smoke() ? 16 : 1024;
    B b = make_backend<B>();
    model::preconditioned<B, nn::mlp<B>> m{b, nn::mlp<B>({features, {256, 256, 256}, 64, true})};
    mlp_case() { m.initialize(b, random_key{3}); }
};

template <Backend B>
void train_mlp(benchmark::State& state) {
    mlp_case<B> c;
    train_step(state, c.b, c.m, c.items, 0, 10);
}
/// As programs train: ranks that are known when they run, here one.
template <Backend B>
void train_mlp_one_rank(benchmark::State& state) {
    mlp_case<B> c;
    train_step(state, c.b, c.m, c.items, 0, 10, parallel::any_communicator());
}

template <Backend B>
void pc_step(benchmark::State& state) {
    mlp_case<B> c;
    auto& b = c.b;
    const auto a = draw(b, c.rows * c.features, c.items, 0), truth = draw(b, c.features, c.items, 1);
    const auto start = draw(b, c.features, c.items, 2);
    batch<B> y(b, c.rows, c.items), x(b, c.features, c.items);
    const linop::isotropic_covariance noise{c.rows, 1e-4};
    const auto op = linop::dense<B>::per_item(a.view(), c.rows, c.features);
    posterior::simulate(b, op, noise, truth.view(), {1, random_lane::observation, 0, 0}, y.view());
    posterior::mmps p(b, c.m, posterior::observe(b, y.cview(), op, noise), {.max_iterations = 2});
    const diffusion::ve_log_linear schedule{1e-3, 10};
    const diffusion::step_info info{0, schedule.sigma(0.5), schedule.sigma(0.5 - 1.0 / 32)};
    const auto step = [&] {
        b.copy(start.view(), x.view());
        diffusion::predictor_corrector{}.step(b, p, info, diffusion::random_noise{random_key{4}}, x.view());
    };
    step();
    if (!finite(b, x.cview())) return fail(state, "not finite");
    timed(state, b, step);
    finish(state, b, 0);
}

/// Every case, its name after `prefix`.
template <Backend B>
void add_cases(const std::string& prefix) {
    const auto add = [&](const std::string& name, auto f, const auto&... args) {
        benchmark::RegisterBenchmark((prefix + name).c_str(), f, args...)->Unit(benchmark::kMillisecond)->UseRealTime();
    };
    std::vector<std::pair<std::string, net>> nets{{"small", small()}};
    if (!smoke()) nets.emplace_back("cifar", cifar());
    if (FineGrained<B> && !smoke()) nets.emplace_back("cifar_256", cifar_256());
    const auto add_sampling = [&]<class Net>(const std::string& name, const Net& n) {
        add("forward/" + name, derivative<B, Net>, n, product::forward);
        add("vjp/" + name, derivative<B, Net>, n, product::vjp);
        add("jvp/" + name, derivative<B, Net>, n, product::jvp);
        add("mmps1/" + name, mmps_step<B, Net>, n, index_t{1});
        add("mmps3/" + name, mmps_step<B, Net>, n, index_t{3});
    };
    for (const auto& [name, n] : nets) {
        add_sampling(name, n);
        add("train/" + name, train_unet<B>, n);
    }
    if constexpr (!FineGrained<B>) {
        add_sampling("ddpmpp", ddpmpp());
        add_sampling("adm64", adm64());
    }
    add("pc_step/mlp", pc_step<B>);
    add("train/mlp", train_mlp<B>);
    add("train/mlp_one_rank", train_mlp_one_rank<B>);
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace networks
