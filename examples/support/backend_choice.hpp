// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include <diem/core/error.hpp>

/// Where a program runs is chosen when it runs. Its work is a template over the backend, instantiated in one unit with the
/// Eigen backend and, where the build has CUDA, in another with the CUDA backend; neither sees the other's headers.
namespace support {

#if defined(DIEM_EXAMPLES_CUDA)
inline constexpr bool has_cuda = true;
/// See diem::cuda_device_count (support/cuda_devices.cu).
int cuda_devices(std::string& why);
#else
inline constexpr bool has_cuda = false;
inline int cuda_devices(std::string& why) {
    why = "this program was built without CUDA";
    return 0;
}
#endif

inline void add_backend_option(CLI::App& app, std::string& backend) {
    app.add_option("--backend", backend, "cuda, eigen (the CPU), or auto: cuda where there is a device, else eigen")
        ->check(CLI::IsMember({"auto", "eigen", "cuda"}))
        ->capture_default_str();
}

/// "eigen" or "cuda", of what --backend may say. Throws device_error where "cuda" is asked for and cannot be had; "auto"
/// says on the terminal that a device is missing, and goes on.
[[nodiscard]] inline std::string choose_backend(const std::string& asked) {
    if (asked == "eigen") return asked;
    std::string why = "there is none";
    if (cuda_devices(why) > 0) return "cuda";
    if (asked == "cuda") throw diem::device_error("--backend cuda: no CUDA device (" + why + ")");
    if (has_cuda) std::cout << "no CUDA device (" << why << "): going on with Eigen" << std::endl;
    return "eigen";
}

}  // namespace support
