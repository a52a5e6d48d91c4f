// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/prior/diagnostics.hpp>

/// The E-step: posterior samples of every observation, in batches, so that it can stop and go on.
namespace diem::prior {

enum class sampler_choice { ddpm, ddim, predictor_corrector, dpm_solver_2m, dpm_solver_2m_sde };

struct sampling_options {
    sampler_choice sampler = sampler_choice::ddpm;
    index_t steps = 256;  ///< of the sampler
    index_t batch = 256;  ///< observations at once
    index_t samples_per_observation = 1;
    double sigma_min = 1e-3, sigma_max = 1e2;  ///< log-linear schedule, standard deviations in data units
};

inline void check_sampling(const sampling_options& o) {
    check_value("prior::sampling_options", o.steps > 0, "steps must be > 0");
    check_value("prior::sampling_options", o.batch > 0, "batch must be > 0");
    check_value("prior::sampling_options", o.samples_per_observation > 0, "samples_per_observation must be > 0");
}

/// How far an E-step has come, with sums over the samples drawn so far.
struct e_step_state {
    index_t done = 0;  ///< samples
    double residual = 0, outside = 0, non_finite = 0;
    std::array<double, solver::solver_statuses> statuses{};  ///< solves by `solver::solver_status`
    double seconds = 0;
};

[[nodiscard]] inline io::json to_json(const e_step_state& s) {
    return {{"done", s.done},         {"residual", s.residual}, {"outside", s.outside}, {"non_finite", s.non_finite},
            {"statuses", s.statuses}, {"seconds", s.seconds}};
}
/// Throws nlohmann::json exceptions.
[[nodiscard]] inline e_step_state e_step_state_from(const io::json& j) {
    e_step_state s;
    s.done = j.at("done").get<index_t>();
    s.residual = j.at("residual").get<double>();
    s.outside = j.at("outside").get<double>();
    s.non_finite = j.at("non_finite").get<double>();
    s.statuses = by_status(j.at("statuses"));
    s.seconds = j.at("seconds").get<double>();
    return s;
}

/// The diagnostics that an E-step yields.
[[nodiscard]] inline lap_diagnostics diagnostics_of(const e_step_state& s) {
    lap_diagnostics d;
    d.samples = s.done;
    const auto n = static_cast<double>(s.done);
    d.data_residual = s.residual / std::max(n - s.non_finite, 1.0);
    d.outside_share = s.outside / n;
    d.non_finite_share = s.non_finite / n;
    double solves = 0;
    for (const double count : s.statuses) solves += count;
    for (std::size_t k = 0; k < s.statuses.size(); ++k) d.solver_shares[k] = solves > 0 ? s.statuses[k] / solves : 0;
    d.e_seconds = s.seconds;
    return d;
}

namespace detail {

/// Adds what samples x of an observation show. Samples that are not finite are overwritten: by the item before them in the
/// batch that is finite, else by the next one; where the whole batch is not finite, by zero.
template <Backend B, class Observation>
void examine(B& b, const Observation& observed, const guard_options& guard, view_t<B> x, e_step_state& state) {
    const index_t n = x.items(), rows = observed.y().features();
    batch<B> r(b, rows, n);
    batch<B, double> product(b, n, 1), out(b, 3, n);
    observed.forward_operator().apply(b, x, r.view());
    b.map(residual_of{}, r.view(), observed.y());
    linop::mahalanobis(b, observed.noise(), r.cview(), product.flat());
    b.launch(n, x.features(), examine_sample<scalar_t<B>>{x.features(), x.stride(), rows, guard.low, guard.high},
             typename B::template pointer<const scalar_t<B>>(x.data()), product.cview().data(), out.view().data());
    const auto found = to_host(b, out);
    std::vector<index_t> good;
    for (index_t i = 0; i < n; ++i) {
        const double* f = found.data() + 3 * i;
        state.outside += f[1];
        state.non_finite += f[2];
        if (f[2] == 0) {
            state.residual += f[0];
            good.push_back(i);
        }
    }
    if (static_cast<index_t>(good.size()) == n) return;
    for (index_t i = 0; i < n; ++i) {
        const auto next = std::lower_bound(good.begin(), good.end(), i);
        if (next != good.end() && *next == i) continue;
        const view_t<B> item = x.item_range(i, 1);
        if (good.empty())
            b.fill(item, scalar_t<B>(0));
        else
            b.copy(const_view_t<B>(x.item_range(next != good.begin() ? *(next - 1) : *next, 1)), item);
    }
}

template <Backend B, class Model>
void run_sampler(B& b, Model& model, const sampling_options& o, const_vector_t<B> mean, const random_key& key,
                 view_t<B> x) {
    const diffusion::ve_log_linear schedule(o.sigma_min, o.sigma_max);
    const diffusion::sample_options<B> options{.steps = o.steps, .mean = mean};
    const auto run = [&](const auto& scheme) { diffusion::sample(b, model, schedule, scheme, options, key, x); };
    switch (o.sampler) {
        case sampler_choice::ddpm:
            return run(diffusion::ddpm{});
        case sampler_choice::ddim:
            return run(diffusion::ddim{});
        case sampler_choice::predictor_corrector:
            return run(diffusion::predictor_corrector{});
        case sampler_choice::dpm_solver_2m:
            return run(diffusion::dpm_solver_2m{});
        case sampler_choice::dpm_solver_2m_sde:
            return run(diffusion::dpm_solver_2m_sde{});
    }
}

}  // namespace detail

/// Fills x (D x n) with samples of the prior itself, `options.batch` at once; item i is a function of the key and its number.
/// `mean` (D, or empty) is where the sampler starts.
template <Backend B, diffusion::Denoiser<B> Model>
void sample_prior(B& b, Model& model, const sampling_options& options, const_vector_t<B> mean, const random_key& key,
                  view_t<B> x) {
    check_sampling(options);
    check_size("prior::sample_prior", "x.features()", x.features(), model.features());
    for (index_t first = 0; first < x.items(); first += options.batch)
        detail::run_sampler<B>(b, model, options, mean, key.skip_items(static_cast<std::uint32_t>(first)),
                               x.item_range(first, std::min(options.batch, x.items() - first)));
}

/// Draws samples number state.done, ... of all observations into x (D x samples_per_observation N; sample s N + i belongs
/// to observation i) by MMPS with `model` as the prior, each a function of `seed` and its number. `estimate` may be null
/// where `mmps` needs none; `mean` (D, or empty) is where the sampler starts. After each batch `go_on(state)` is asked;
/// false leaves. Returns whether all are drawn. Calling again with the state goes on, equal to the bit.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation, class GoOn>
bool sample_posteriors(B& b, Model& model, const Observation& observed, const diffusion::gaussian<B>* estimate,
                       const posterior::mmps_options& mmps, const sampling_options& options, const guard_options& guard,
                       const_vector_t<B> mean, std::uint64_t seed, view_t<B> x, e_step_state& state, GoOn&& go_on) {
    check_sampling(options);
    const index_t n = observed.items(), total = n * options.samples_per_observation;
    check_shape("prior::sample_posteriors", "x", x, model.features(), total);
    check_value("prior::sample_posteriors", n > 0, "there are no observations");
    const random_key key{.seed = seed};
    while (state.done < total) {
        const auto start = std::chrono::steady_clock::now();
        const index_t first = state.done % n, count = std::min(options.batch, n - first);
        const auto part = observed.items(first, count);
        const view_t<B> out = x.item_range(state.done, count);
        posterior::mmps denoiser(b, model, part, mmps, estimate);
        detail::run_sampler<B>(b, denoiser, options, mean, key.skip_items(static_cast<std::uint32_t>(state.done)), out);
        const auto tally = denoiser.tally().read(b);
        for (std::size_t k = 0; k < state.statuses.size(); ++k) state.statuses[k] += tally.status[k];
        detail::examine<B>(b, part, guard, out, state);
        state.done += count;
        state.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (!go_on(state) && state.done < total) return false;
    }
    return true;
}

}  // namespace diem::prior
