// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <utility>

#include <diem/backend/concept.hpp>
#include <diem/prior/diffusion_em.hpp>

#include "support/em_monitor.hpp"
#include "support/interrupt.hpp"

/// The second stage of the programs that learn from a configuration: a diffusion prior by EM from the Gaussian one.
namespace support {

/// Unconditional samples of any prior, always with the same random numbers.
template <diem::Backend B, class Model>
[[nodiscard]] diem::batch<B> unconditional(B& b, Model& model, const diem::prior::sampling_options& sampling,
                                           diem::const_vector_t<B> mean, diem::index_t count, std::uint64_t seed = 17) {
    diem::batch<B> x(b, model.features(), count);
    diem::prior::sample_prior<B>(b, model, sampling, mean, {.seed = seed}, x.view());
    return x;
}

/// Trains `model` on the terminal: bars, a line for each lap, Ctrl-C saves and stops. `em.folder`, `em.resume` and
/// `em.config` as they should be; `lap_end(diagnostics, samples, prior)` after each lap.
template <diem::Backend B, class Model, class Observation, class LapEnd>
[[nodiscard]] diem::prior::em_result<B> fit_diffusion_stage(B& b, Model& model, const Observation& observed,
                                                            diem::diffusion::gaussian<B>& initial,
                                                            diem::prior::em_options em, LapEnd lap_end) {
    std::atomic<bool> cancel = false;
    em.cancel = &cancel;
    em_monitor monitor(cancel, std::move(lap_end));
    catch_interrupts();
    auto result = diem::prior::fit_diffusion(b, model, model.table(), observed, initial,
                                             diem::prior::untrained_prior<B>(b, model, initial), em, monitor);
    std::cout << result.report << std::endl;
    return result;
}

}  // namespace support
