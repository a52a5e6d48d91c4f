// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>

#include "support/golden_batch.hpp"

namespace diem::test {

/// Every sampler of a golden file of kind "samplers", from its start and with its noise: all states, and the result.
template <class B, class Model>
void check_samplers(B& b, golden_file& file, Model& model) {
    using T = scalar_t<B>;
    const auto& config = file.config();
    const auto x_1 = load_input(b, file, "x_1");
    const index_t d = x_1.features(), n = x_1.items();
    const auto pc = file.template input<T>("noise_pc");
    const index_t steps = pc.shape[0], corrections = pc.shape[1];
    const auto ddpm_noise = to_backend(b, file.template input<T>("noise_ddpm").data, d, n * steps);
    const auto pc_noise = to_backend(b, pc.data, d, n * steps * corrections);
    const diffusion::given_noise<B> noise{{}, ddpm_noise.view(), pc_noise.view()};
    const diffusion::ve_log_linear schedule{config.at("a").template get<double>(),
                                            config.at("b").template get<double>()};
    diffusion::sample_options<B> options;
    options.steps = steps;
    options.start_given = true;
    const auto check = [&](const std::string& name, const auto& scheme) {
        batch<B> x(b, d, n);
        b.copy(x_1.view(), x.view());
        std::vector<T> states = to_host(b, x_1);
        const auto result =
            diffusion::sample(b, model, schedule, scheme, options, noise, x.view(), [&](index_t, index_t, double) {
                const auto now = to_host(b, x);
                states.insert(states.end(), now.begin(), now.end());
                return true;
            });
        CHECK(result.finished);
        check_golden(file, name + "/states", states);
        check_golden(file, name + "/final", to_host(b, x));
    };
    check("ddpm", diffusion::ddpm{});
    check("ddim", diffusion::ddim{});
    check("pc", diffusion::predictor_corrector{corrections, config.value("tau", 0.1)});
}

}  // namespace diem::test
