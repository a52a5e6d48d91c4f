// SPDX-License-Identifier: Apache-2.0
#pragma once

// Stands in for cuFFT: the calls that diem makes, by the definition of the transform. Arguments are checked as the library
// documents them; data and work area must lie in device memory.
#include <cuda_runtime.h>

#include <cmath>
#include <complex>
#include <map>
#include <numbers>
#include <vector>

enum cufftResult : int {
    CUFFT_SUCCESS = 0,
    CUFFT_INVALID_PLAN = 1,
    CUFFT_ALLOC_FAILED = 2,
    CUFFT_INVALID_TYPE = 3,
    CUFFT_INVALID_VALUE = 4,
    CUFFT_INTERNAL_ERROR = 5,
    CUFFT_EXEC_FAILED = 6,
    CUFFT_SETUP_FAILED = 7,
    CUFFT_INVALID_SIZE = 8,
    CUFFT_UNALIGNED_DATA = 9,
};
enum cufftType { CUFFT_C2C = 0x29, CUFFT_Z2Z = 0x69 };
inline constexpr int CUFFT_FORWARD = -1, CUFFT_INVERSE = 1;
using cufftHandle = int;
struct cufftComplex {
    float x, y;
};
struct cufftDoubleComplex {
    double x, y;
};

namespace cuda_host {

struct fft_plan {
    std::vector<int> sizes;
    int batch = 0;
    cufftType type = CUFFT_C2C;
    bool own_area = true;
    std::size_t bytes = 0;
    void* area = nullptr;
};
inline std::map<int, fft_plan>& fft_plans() {
    static std::map<int, fft_plan> plans;
    return plans;
}
inline cufftResult fft_failure(const char* call) { return static_cast<cufftResult>(device::get().failure(call)); }

/// Along one axis: `lines` transforms of n numbers, `step` apart, within an array of n * lines numbers.
template <class Z>
void fft_axis(Z* z, int n, std::ptrdiff_t step, std::ptrdiff_t total, int sign) {
    std::vector<std::complex<double>> from(static_cast<std::size_t>(n)), roots(from.size());
    for (std::size_t k = 0; k < roots.size(); ++k)
        roots[k] = std::polar(1.0, sign * 2 * std::numbers::pi * static_cast<double>(k) / n);
    for (std::ptrdiff_t start = 0; start < total; ++start) {
        if (start / step % n != 0) continue;
        for (std::size_t k = 0; k < from.size(); ++k) {
            const Z& e = z[start + static_cast<std::ptrdiff_t>(k) * step];
            from[k] = {static_cast<double>(e.x), static_cast<double>(e.y)};
        }
        for (std::size_t u = 0; u < from.size(); ++u) {
            std::complex<double> sum = 0;
            for (std::size_t k = 0; k < from.size(); ++k) sum += from[k] * roots[u * k % roots.size()];
            Z& e = z[start + static_cast<std::ptrdiff_t>(u) * step];
            e.x = static_cast<decltype(e.x)>(sum.real());
            e.y = static_cast<decltype(e.y)>(sum.imag());
        }
    }
}
template <class Z>
cufftResult fft_execute(const char* call, cufftHandle h, cufftType type, Z* from, Z* to, int sign) {
    if (const auto status = fft_failure(call)) return status;
    const auto at = fft_plans().find(h);
    if (at == fft_plans().end() || at->second.batch == 0 || at->second.type != type) return CUFFT_INVALID_PLAN;
    const fft_plan& p = at->second;
    std::ptrdiff_t size = 1;
    for (const int n : p.sizes) size *= n;
    if (from != to || (sign != CUFFT_FORWARD && sign != CUFFT_INVERSE) ||
        !device::get().owns(to, sizeof(Z) * static_cast<std::size_t>(size * p.batch)) ||
        (!p.own_area && !device::get().owns(p.area, p.bytes)))
        return CUFFT_INVALID_VALUE;
    const scope inside;
    for (int k = 0; k < p.batch; ++k) {
        std::ptrdiff_t step = size;
        for (const int n : p.sizes) {
            step /= n;
            fft_axis(to + k * size, n, step, size, sign);
        }
    }
    return CUFFT_SUCCESS;
}

}  // namespace cuda_host

inline cufftResult cufftCreate(cufftHandle* h) {
    if (const auto status = cuda_host::fft_failure("cufftCreate")) return status;
    static int next = 0;
    *h = ++next;
    cuda_host::fft_plans()[*h] = {};
    return CUFFT_SUCCESS;
}
inline cufftResult cufftDestroy(cufftHandle h) {
    return cuda_host::fft_plans().erase(h) == 1 ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}
inline cufftResult cufftSetAutoAllocation(cufftHandle h, int automatic) {
    const auto at = cuda_host::fft_plans().find(h);
    if (at == cuda_host::fft_plans().end() || at->second.batch != 0) return CUFFT_INVALID_PLAN;
    at->second.own_area = automatic != 0;
    return CUFFT_SUCCESS;
}
inline cufftResult cufftMakePlanMany(cufftHandle h, int rank, int* n, int* inembed, int, int idist, int* onembed, int,
                                     int odist, cufftType type, int batch, std::size_t* bytes) {
    if (const auto status = cuda_host::fft_failure("cufftMakePlanMany")) return status;
    const auto at = cuda_host::fft_plans().find(h);
    if (at == cuda_host::fft_plans().end() || at->second.batch != 0) return CUFFT_INVALID_PLAN;
    if (rank < 1 || rank > 2 || inembed != nullptr || onembed != nullptr || batch < 1) return CUFFT_INVALID_VALUE;
    std::ptrdiff_t size = 1;
    for (int k = 0; k < rank; ++k) {
        if (n[k] < 2) return CUFFT_INVALID_SIZE;
        size *= n[k];
    }
    if (idist != size || odist != size) return CUFFT_INVALID_VALUE;  // the library takes more; diem asks for no more
    at->second.sizes.assign(n, n + rank);
    at->second.batch = batch;
    at->second.type = type;
    at->second.bytes = *bytes = static_cast<std::size_t>(size * batch) * 8;
    return CUFFT_SUCCESS;
}
inline cufftResult cufftSetStream(cufftHandle h, cudaStream_t) {
    return cuda_host::fft_plans().count(h) == 1 ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}
inline cufftResult cufftSetWorkArea(cufftHandle h, void* area) {
    const auto at = cuda_host::fft_plans().find(h);
    if (at == cuda_host::fft_plans().end() || at->second.own_area) return CUFFT_INVALID_PLAN;
    at->second.area = area;
    return CUFFT_SUCCESS;
}
inline cufftResult cufftExecC2C(cufftHandle h, cufftComplex* from, cufftComplex* to, int sign) {
    return cuda_host::fft_execute("cufftExec", h, CUFFT_C2C, from, to, sign);
}
inline cufftResult cufftExecZ2Z(cufftHandle h, cufftDoubleComplex* from, cufftDoubleComplex* to, int sign) {
    return cuda_host::fft_execute("cufftExec", h, CUFFT_Z2Z, from, to, sign);
}
