// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <variant>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>

/// \file
/// A sampler chosen when the program runs, in batches of bounded size.
/// \snippet tests/examples/diffusion.cpp diffusion/sampling.hpp

namespace diem::diffusion {

enum class sampler_choice { ddpm, ddim, heun, predictor_corrector, dpm_2m, dpm_2m_sde };

enum class schedule_choice { ve_log_linear, edm, vp_cosine };

struct sampling_options {
    sampler_choice sampler = sampler_choice::ddpm;
    schedule_choice schedule = schedule_choice::ve_log_linear;
    index_t steps = 256;                       ///< of the sampler
    index_t batch = 256;                       ///< items at once
    index_t samples_per_observation = 1;       ///< of posterior samples
    double sigma_min = 1e-3, sigma_max = 1e2;  ///< standard deviations in data units
};

/// Throws value_error for options outside their range.
inline void check_sampling(const sampling_options& o) {
    check_value("sampling_options", o.steps > 0, "steps must be > 0");
    check_value("sampling_options", o.batch > 0, "batch must be > 0");
    check_value("sampling_options", o.samples_per_observation > 0, "samples_per_observation must be > 0");
    detail::sigma_range{o.sigma_min, o.sigma_max}.check("sampling_options");
}

/// A schedule chosen when the program runs.
class any_schedule {
public:
    any_schedule(schedule_choice choice, double sigma_min, double sigma_max)
        : schedule_(make(choice, sigma_min, sigma_max)) {}
    [[nodiscard]] double sigma(double t) const {
        return std::visit([t](const auto& s) { return s.sigma(t); }, schedule_);
    }
    [[nodiscard]] double alpha(double t) const {
        return std::visit([t](const auto& s) { return s.alpha(t); }, schedule_);
    }

private:
    using choice_type = std::variant<ve_log_linear, edm, vp_cosine>;
    static choice_type make(schedule_choice choice, double sigma_min, double sigma_max) {
        switch (choice) {
            case schedule_choice::edm:
                return edm(sigma_min, sigma_max);
            case schedule_choice::vp_cosine:
                return vp_cosine(sigma_min, sigma_max);
            case schedule_choice::ve_log_linear:
                break;
        }
        return ve_log_linear(sigma_min, sigma_max);
    }
    choice_type schedule_;
};

/// A step of a sampler, and the level where it begins.
struct plan_start {
    index_t step = 0;
    double sigma = 0;
};
/// The first step that begins at a level not above `sigma`; the last where none does.
[[nodiscard]] inline plan_start first_below(const sampling_options& o, double sigma) {
    const any_schedule schedule(o.schedule, o.sigma_min, o.sigma_max);
    plan_start at{0, schedule.sigma(1)};
    while (at.sigma > sigma && at.step + 1 < o.steps) {
        ++at.step;
        at.sigma = schedule.sigma(time_at(at.step, o.steps));
    }
    return at;
}

/// Where samplers start: see `sample_options`.
template <Backend B>
struct sampler_start {
    const_vector_t<B> mean{};
    const gaussian<B>* estimate = nullptr;
    index_t first_step = 0;
};

namespace detail {

/// Any denoiser behind one function: what is chosen when the program runs is compiled once for all of them. One indirect call a
/// network pass.
template <Backend B>
class any_denoiser {
public:
    using score_model_tag = diffusion::score_model_tag;
    template <Denoiser<B> Model>
    explicit any_denoiser(Model& model)
        : model_(const_cast<void*>(static_cast<const void*>(&model))), features_(model.features()),
          denoise_([](void* m, B& b, const_view_t<B> x_t, const noise_level<B>& sigma, view_t<B> x_hat) {
              static_cast<Model*>(m)->denoise(b, x_t, sigma, x_hat);
          }) {}
    [[nodiscard]] index_t features() const { return features_; }
    void denoise(B& b, const_view_t<B> x_t, const noise_level<B>& sigma, view_t<B> x_hat) {
        denoise_(model_, b, x_t, sigma, x_hat);
    }

private:
    void* model_;
    index_t features_;
    void (*denoise_)(void*, B&, const_view_t<B>, const noise_level<B>&, view_t<B>);
};

/// One batch.
template <Backend B>
bool sample_chosen(B& b, any_denoiser<B> model, const sampling_options& options, const sampler_start<B>& from,
                   const random_key& key, view_t<B> x, const std::atomic<bool>* cancel) {
    const any_schedule schedule(options.schedule, options.sigma_min, options.sigma_max);
    const sample_options<B> start{
        .steps = options.steps, .mean = from.mean, .estimate = from.estimate, .first_step = from.first_step};
    const auto run = [&](const auto& scheme) {
        return sample(b, model, schedule, scheme, start, key, x,
                      [&](index_t, index_t, double) { return cancel == nullptr || !cancel->load(); })
            .finished;
    };
    switch (options.sampler) {
        case sampler_choice::ddim:
            return run(ddim{});
        case sampler_choice::heun:
            return run(heun{});
        case sampler_choice::predictor_corrector:
            return run(predictor_corrector{});
        case sampler_choice::dpm_2m:
            return run(dpm_solver_2m{});
        case sampler_choice::dpm_2m_sde:
            return run(dpm_solver_2m_sde{});
        case sampler_choice::ddpm:
            break;
    }
    return run(ddpm{});
}

}  // namespace detail

/// Fills x (D x n) with samples of the denoiser's distribution, `options.batch` at once; item i is a function of the key
/// and its number. `cancel` (or null) may be set by anyone, a signal
/// handler say: sampling ends after the step, and the numbers of the batch are noisy. `ranks` share the batches: each time,
/// each draws one, and all get all of them. Returns whether all are drawn. Throws shape_error, value_error.
template <Backend B, Denoiser<B> Model, parallel::Communicator C = parallel::self>
bool sample(B& b, Model& model, const sampling_options& options, const sampler_start<B>& from, const random_key& key,
            view_t<B> x, const std::atomic<bool>* cancel = nullptr, const C& ranks = {}) {
    constexpr const char* what = "samples of the prior";
    check_sampling(options);
    check_size("diffusion::sample", "x.features()", x.features(), model.features());
    for (index_t first = 0; first < x.items();) {
        const auto round = parallel::next_round(ranks, first, x.items(), options.batch);
        const bool finished =
            round.count == 0 || detail::sample_chosen<B>(b, detail::any_denoiser<B>(model), options, from,
                                                         key.skip_items(static_cast<std::uint32_t>(round.begin)),
                                                         x.item_range(round.begin, round.count), cancel);
        if (parallel::any_of(ranks, !finished, what)) return false;
        parallel::all_gather_items(ranks, b, x.item_range(first, round.end - first), round.counts, what);
        first = round.end;
    }
    return true;
}

}  // namespace diem::diffusion
