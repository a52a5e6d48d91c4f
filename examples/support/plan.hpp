// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ostream>
#include <string>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/posterior/any_policies.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/train/trainer.hpp>

#include "support/memory.hpp"
#include "support/report.hpp"

namespace support {

/// What a diffusion EM is going to cost, from one pass and one training step on this machine.
struct em_plan {
    diem::index_t parameters = 0;
    double passes = 0;          ///< of one sample through the network in an E-step, forward and VJP, at most
    double training_items = 0;  ///< through the network in an M-step
    double seconds_per_pass = 0, seconds_per_training_item = 0;
    std::size_t sampling_bytes = 0, training_bytes = 0;  ///< saved activations of one batch
    std::size_t state_bytes = 0;                         ///< see training_state_bytes
    [[nodiscard]] std::size_t bytes() const { return state_bytes + std::max(sampling_bytes, training_bytes); }
    [[nodiscard]] double sampling_seconds() const { return passes * seconds_per_pass; }  ///< of a lap
    [[nodiscard]] double training_seconds() const { return training_items * seconds_per_training_item; }
};

/// Options whose iterations are a number, for a plan.
template <diem::Backend B, class Observation>
[[nodiscard]] diem::prior::em_options with_iterations(B& b, diem::prior::em_options o, const Observation& observed) {
    o.mmps = diem::posterior::settled(b, o.mmps, observed);
    return o;
}

/// Measures with small batches; the model's weights are left as they were.
template <diem::Backend B, class Model>
[[nodiscard]] em_plan plan_em(B& b, Model& model, const diem::prior::em_options& o, diem::index_t observations) {
    using namespace diem;
    observations = prior::observations_in_lap(o, observations);
    using clock = std::chrono::steady_clock;
    const auto seconds = [](clock::time_point start) {
        return std::chrono::duration<double>(clock::now() - start).count();
    };
    em_plan p;
    p.parameters = std::as_const(model).parameters().size();
    const double samples = static_cast<double>(observations * o.sampling.samples_per_observation);
    const double steps = static_cast<double>(o.sampling.steps);
    // The last call of a sampler is a plain one as the others: steps + 1 calls of 1 + m passes.
    p.passes = samples * (steps + 1) * static_cast<double>(1 + o.mmps.max_iterations);
    p.training_items = static_cast<double>(o.training.steps * o.training.batch);
    const auto& t = o.training;
    const index_t micro = t.loss.micro_batch > 0 ? std::min(t.loss.micro_batch, t.batch) : t.batch;
    p.sampling_bytes = model.activation_bytes(b, std::min(o.sampling.batch, observations));
    p.training_bytes = model.activation_bytes(b, micro, true);
    p.state_bytes = training_state_bytes<scalar_t<B>>(p.parameters, t.adam.moments);

    // A few items of a large network, a batch of a small one, whose passes would else be all overhead.
    const auto each = static_cast<index_t>(model.activation_bytes(b, 1, true));
    const index_t n = std::min(
        {std::max<index_t>(8, (index_t{1} << 24) / std::max<index_t>(each, 1)), o.sampling.batch, observations, micro});
    batch<B> x(b, model.features(), n), y(b, model.features(), n);
    b.fill_normal(random_key{.seed = 1}, x.view());
    for (int k = 0; k < 2; ++k) {  // the first warms up
        const auto start = clock::now();
        const auto linearization = model.linearize(b, x.cview(), diffusion::noise_level<B>(1.0));
        linearization.jacobian().apply_adjoint(b, x.cview(), y.view());
        b.synchronize();
        p.seconds_per_pass = seconds(start) / static_cast<double>(2 * n);
    }
    batch<B> weights(b, p.parameters, 1);
    b.copy(as_batch(std::as_const(model).parameters()), weights.view());
    auto once = t;
    once.augmentation = {};
    once.batch = once.loss.micro_batch = n;
    for (int k = 0; k < 2; ++k) {
        once.steps = 1;
        auto state = train::start_training(b, model, once, 0);
        const auto start = clock::now();
        train::fit_denoiser<B>(b, model, x.cview(), once, state);
        p.seconds_per_training_item = seconds(start) / static_cast<double>(n);
    }
    b.copy(weights.cview(), as_batch(vector_t<B>(model.mutable_parameters())));
    return p;
}

inline void print_plan(std::ostream& out, const em_plan& p, const diem::prior::em_options& o) {
    const auto time = [](double s) {
        return s < 120      ? number(s, 0) + " s"
               : s < 7200   ? number(s / 60, 0) + " min"
               : s < 172800 ? number(s / 3600, 1) + " h"
                            : number(s / 86400, 0) + " days";
    };
    const double e = p.sampling_seconds(), m = p.training_seconds();
    // How many steps are above the switch is known when there is an estimate: those cost no pass.
    const bool fewer =
        o.mmps.cov_x == diem::posterior::covariance::blended && o.start_at == diem::prior::sampling_start::gaussian;
    const char* const bound = fewer ? "at most " : "";
    out << "Plan: network of " << number(static_cast<double>(p.parameters) / 1e6, 2) << " M parameters ("
        << mib(p.state_bytes) << " with what training keeps beside them); " << o.laps << " laps\n  E-step  " << bound
        << number(p.passes / 1e6, 2) << " M passes of one image, about " << time(e) << "; activations "
        << mib(p.sampling_bytes) << "\n  M-step  " << o.training.steps << " steps of " << o.training.batch
        << " images, about " << time(m) << "; activations " << mib(p.training_bytes) << "\n  all laps "
        << (fewer ? bound : "about ") << time(static_cast<double>(o.laps) * (e + m)) << '\n';
}

/// Of a fresh model around this network.
template <diem::Backend B, class Net>
[[nodiscard]] em_plan plan_em_of(B& b, const Net& network, const diem::prior::em_options& o,
                                 diem::index_t observations) {
    diem::model::preconditioned<B, Net> model(b, Net(network.config()));
    model.initialize(b, {.seed = o.seed});
    return plan_em(b, model, o, observations);
}

/// The same, measured and said.
template <diem::Backend B, class Net, class Observation>
em_plan say_plan(std::ostream& out, B& b, const Net& network, const diem::prior::em_options& o,
                 const Observation& observed, diem::index_t observations) {
    const auto settled = with_iterations(b, o, observed);
    const auto cost = plan_em_of(b, network, settled, observations);
    print_plan(out, cost, settled);
    return cost;
}

}  // namespace support
