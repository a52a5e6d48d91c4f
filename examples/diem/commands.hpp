// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <diem/core/view.hpp>

#include "support/place.hpp"

/// The subcommands of examples/diem.cpp: what the command line gives, and what runs it. Each returns the exit status and
/// throws what diem/core/error.hpp names; nothing is written before everything that was given has been checked. Words go to
/// std::cout, the same for machines to support::tell.
namespace program {

using path = std::filesystem::path;

struct fit_command {
    support::place at;  ///< chosen, for `run_on_...`
    path config, out;
    bool resume = false, overwrite = false, plan = false;
    double save_every = 600;             ///< seconds
    std::optional<double> memory_limit;  ///< GiB; none: what there is
    path scratch;                        ///< folder of large arrays; empty: that of `out`, where they do not fit
    std::optional<double> held_out;      ///< in place of the configuration's
};

/// What `sample` and `posterior` share.
struct draw_command {
    support::place at;  ///< chosen, for `run_on_...`
    path checkpoint, out;
    std::optional<diem::index_t> steps, batch;  ///< instead of the checkpoint's
    std::vector<std::string> changes;           ///< of how it draws, KEY=VALUE
    std::vector<diem::index_t> image;           ///< height, width, channels; empty: the checkpoint's
    std::optional<diem::index_t> label;         ///< class of what is drawn
    std::uint64_t seed = 0;
};
struct sample_command : draw_command {
    diem::index_t count = 64;
};

struct posterior_command : draw_command {
    std::vector<path> observations;  ///< several for the operator mri alone
    path description;
    std::string sigma_y;
    std::string scale;  ///< x is that of the prior times this: a number, "auto", or empty: the prior's own
    std::vector<std::string> formats{"npy"};  ///< of the results: npy, cfl, hdf5
    std::string layout;                       ///< of the observations; empty: the operator's
    diem::index_t samples = 4;
};

struct evaluate_command {
    support::place at;  ///< chosen, for `run_on_...`
    path samples, truth, json, inception;
    double data_range = 4;
    std::vector<diem::index_t> image;
    double regularization = 1e-2;
    bool unpaired = false, full = false, coverage = false;
    std::string layout = "channels_last";  ///< of the truth, and of samples of its shape
};

/// On one backend. The second ones are there in builds with CUDA only.
int run_on_eigen(const fit_command& o);
int run_on_eigen(const sample_command& o);
int run_on_eigen(const posterior_command& o);
int run_on_eigen(const evaluate_command& o);
int run_on_cuda(const fit_command& o);
int run_on_cuda(const sample_command& o);
int run_on_cuda(const posterior_command& o);
int run_on_cuda(const evaluate_command& o);

struct info_command {
    path checkpoint;
};
int info(const info_command& o);

/// What a report of an error needs: version, processor, threads, memory, devices.
int doctor();

struct report_command {
    std::vector<path> folders;  ///< one or two
    path out;                   ///< empty: report.html in the one folder, comparison.html here of two
};
/// The page of a run, or of two beside each other (support/html_report.hpp).
int report(const report_command& o);

struct observe_command {
    path truth, description, out;
    std::string sigma_y;
    std::string layout;         ///< of the truth; empty: the operator's
    std::vector<double> range;  ///< of the truth's values, brought to [-2, 2]; empty: as they are
    diem::index_t first = 0;
    std::optional<diem::index_t> count;
    std::uint64_t seed = 0;
};
int observe(const observe_command& o);

struct convert_command {
    path in, out;
    std::vector<double> range;  ///< of values, for formats of bytes
};
int convert(const convert_command& o);
/// The formats of arrays that this program was built with, for --help.
[[nodiscard]] std::string formats_of_arrays();

}  // namespace program
