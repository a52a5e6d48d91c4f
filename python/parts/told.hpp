// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/io/folder_lock.hpp>
#include <diem/io/json.hpp>

#include "own_model.hpp"

/// What is told of priors, samples and runs, and read for them. Without Python.
namespace python {

[[nodiscard]] std::string text_of(const diem::io::json& value);
void multiply(float* values, diem::index_t size, double factor);

/// Features, network, drawing, history and notes.
[[nodiscard]] diem::io::json facts_of(const program::learned_prior<backend>& prior);
/// How to draw, with what a configuration says instead. Throws config_error.
[[nodiscard]] diem::prior::drawing_options read_drawing(const diem::io::config_source& config,
                                                        diem::prior::drawing_options drawing);

/// Of `count` posterior samples: where they are not finite, or do not fit the data.
[[nodiscard]] std::vector<std::string> warnings_of(const program::data_fit& fit, diem::index_t count);
[[nodiscard]] diem::io::json facts_of(const program::data_fit& fit, const diem::posterior::sample_state& state);

[[nodiscard]] const char* name_of(diem::prior::progress::stage_type s);
/// A folder that holds a run is gone on with, or refused; what a killed one left half-written goes.
[[nodiscard]] diem::io::folder_lock open_folder(const std::filesystem::path& folder, bool resume);

}  // namespace python
