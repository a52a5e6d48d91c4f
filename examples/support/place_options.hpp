// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>

#include "support/option_ranges.hpp"
#include "support/place.hpp"

/// Where a program runs is chosen when it runs. Its work is a template over the backend, instantiated in one unit with the
/// Eigen backend and, where the build has CUDA, in another with the CUDA backend; neither sees the other's headers.
namespace support {

#if defined(DIEM_EXAMPLES_CUDA)
inline constexpr bool has_cuda = true;
/// See diem::cuda_device_count (support/cuda_place.cu).
int cuda_devices(std::string& why);
#else
inline constexpr bool has_cuda = false;
inline int cuda_devices(std::string& why) {
    why = "this program was built without CUDA";
    return 0;
}
#endif

inline void add_place_options(CLI::App& app, place& at) {
    app.add_option("--backend", at.backend, "cuda, eigen (the CPU), or auto: cuda where there is a device, else eigen")
        ->check(CLI::IsMember({"auto", "eigen", "cuda"}))
        ->capture_default_str();
    app.add_option("--threads", at.threads, "of the Eigen backend; 0: as many as the process may use")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    app.add_option("--device", at.device, "ordinal of the CUDA device")
        ->check(count_in(0, 4095))
        ->capture_default_str();
}

/// Of programs that several processes run together.
inline void add_ranks_option(CLI::App& app, place& at) {
    app.add_option("--rank-deadline", at.deadline,
                   "seconds: under mpirun, a process that others wait for longer than this ends all of them")
        ->check(number_in(1, 1e7))
        ->capture_default_str();
}

/// Of programs that compute in float32.
inline void add_products_option(CLI::App& app, place& at) {
    app.add_option(
           "--products", at.products,
           "float32, or operands rounded to bf16 or, on a CUDA device, to tf32: faster and less accurate; on the CPU "
           "those of networks alone")
        ->check(CLI::IsMember({"float32", "tf32", "bf16"}))
        ->capture_default_str();
}

/// Settles what --backend left open; each rank of a machine takes a device of its own, as far as there are. Throws
/// device_error where "cuda" is asked for and cannot be had, value_error where another option needs it; "auto" says on the
/// terminal that a device is missing, and goes on.
inline void choose(place& at) {
    std::string why = "there is none";
    if (const int devices = at.backend == "eigen" ? 0 : cuda_devices(why); devices > 0) {
        at.backend = "cuda";
        if (at.ranks.size() > 1) at.device = (at.device + at.rank_here) % devices;
        return;
    }
    if (at.backend == "cuda") throw diem::device_error("--backend cuda: no CUDA device (" + why + ")");
    diem::check_value("--products", at.products != "tf32", "is tf32, and this runs on the CPU");
    diem::check_value("--device", at.device == 0, "is " + std::to_string(at.device) + ", and this runs on the CPU");
    if (has_cuda && at.backend == "auto")
        std::cout << "no CUDA device (" << why << "): going on with Eigen" << std::endl;
    at.backend = "eigen";
}

}  // namespace support
