// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/posterior/diffpir.hpp>
#include <diem/posterior/dps.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/pigdm.hpp>
#include <diem/posterior/tmpd.hpp>
#include <diem/testing/counting.hpp>

#include "guidance/program.hpp"

namespace guidance {

using namespace diem;

enum class kind { diffpir, dps, pigdm, tmpd, mmps };

struct method {
    kind what;
    std::string name;
    index_t iterations = 0;  ///< of the solver
};

/// In the order of the paper's table.
inline std::vector<method> methods_of(const settings& s) {
    std::vector<method> out{{kind::diffpir, "DiffPIR", s.iterations},
                            {kind::dps, "DPS"},
                            {kind::pigdm, "PiGDM", s.iterations},
                            {kind::tmpd, "TMPD", s.iterations}};
    for (const index_t m : s.mmps_iterations)
        out.push_back({kind::mmps, "MMPS, " + std::to_string(m) + (m == 1 ? " iteration" : " iterations"), m});
    return out;
}

struct cost {
    double seconds = 0;
    testing::pass_counts passes;
};

/// Fills x with samples of p(x | y), one for each observation, by `steps` steps of `ddpm` or, DiffPIR, of its own sampler. The
/// noise levels, their sequence and the random numbers are the same for all methods.
template <Backend B, class Model, class Observation>
cost draw(B& b, Model& prior, const Observation& seen, const method& m, const settings& s, index_t steps,
          const_vector_t<B> mean, const random_key& key, view_t<B> x) {
    const auto start = std::chrono::steady_clock::now();
    testing::counting_model model(prior);
    const auto run = [&](auto denoiser, const auto& sampler, bool final_denoise = true) {
        diffusion::sample(b, denoiser, diffusion::ve_log_linear(s.sigma_min, s.sigma_max), sampler,
                          diffusion::sample_options<B>{.steps = steps, .mean = mean, .final_denoise = final_denoise},
                          key, x);
    };
    switch (m.what) {
        case kind::diffpir:
            run(posterior::diffpir(b, model, seen, {.lambda = s.lambda, .iterations = m.iterations}),
                posterior::diffpir_step{});
            break;
        case kind::dps:
            run(posterior::dps(b, model, seen,
                               {.zeta = s.zeta, .tau = posterior::dps_tau(s.sigma_min, s.sigma_max, steps)}),
                diffusion::ddpm{}, false);
            break;
        case kind::pigdm:
            run(posterior::pigdm(b, model, seen, {.iterations = m.iterations}), diffusion::ddpm{});
            break;
        case kind::tmpd:
            run(posterior::tmpd(b, model, seen, {.iterations = m.iterations}), diffusion::ddpm{});
            break;
        case kind::mmps:
            run(posterior::mmps(b, model, seen, posterior::tweedie{}, posterior::gmres<>{.iterations = m.iterations}),
                diffusion::ddpm{});
            break;
    }
    (void)to_host(b, x.item_range(0, 1));  // a device is done
    return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), model.counts};
}

}  // namespace guidance
