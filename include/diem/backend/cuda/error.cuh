// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cufft.h>
#include <cusolverDn.h>

#include <source_location>
#include <string>

#include <diem/core/error.hpp>

/// \file
/// Status codes of CUDA and its libraries as `device_error`.

namespace diem::detail::cuda {

[[noreturn]] inline void fail(const std::string& call, const std::string& code, int number,
                              const std::source_location& where) {
    const std::string file = where.file_name();
    throw device_error(call + " failed: " + code + " (" + std::to_string(number) + "), at " +
                       file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line()));
}

/// Throws device_error with call, code, file and line unless `status` is success. The runtime's own record of the error is
/// cleared, so that it is reported once.
inline void checked(cudaError_t status, const char* call,
                    const std::source_location& where = std::source_location::current()) {
    if (status == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());
    fail(call, std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status), static_cast<int>(status),
         where);
}
inline void checked(cublasStatus_t status, const char* call,
                    const std::source_location& where = std::source_location::current()) {
    if (status != CUBLAS_STATUS_SUCCESS) fail(call, cublasGetStatusName(status), static_cast<int>(status), where);
}
inline void checked(cufftResult status, const char* call,
                    const std::source_location& where = std::source_location::current()) {
    if (status == CUFFT_SUCCESS) return;
    const char* name = status == CUFFT_INVALID_PLAN     ? "CUFFT_INVALID_PLAN"
                       : status == CUFFT_ALLOC_FAILED   ? "CUFFT_ALLOC_FAILED"
                       : status == CUFFT_INVALID_VALUE  ? "CUFFT_INVALID_VALUE"
                       : status == CUFFT_INTERNAL_ERROR ? "CUFFT_INTERNAL_ERROR"
                       : status == CUFFT_EXEC_FAILED    ? "CUFFT_EXEC_FAILED"
                       : status == CUFFT_SETUP_FAILED   ? "CUFFT_SETUP_FAILED"
                       : status == CUFFT_INVALID_SIZE   ? "CUFFT_INVALID_SIZE"
                                                        : "error of cuFFT";
    fail(call, name, static_cast<int>(status), where);
}
inline void checked(cusolverStatus_t status, const char* call,
                    const std::source_location& where = std::source_location::current()) {
    if (status == CUSOLVER_STATUS_SUCCESS) return;
    const char* name = status == CUSOLVER_STATUS_NOT_INITIALIZED    ? "CUSOLVER_STATUS_NOT_INITIALIZED"
                       : status == CUSOLVER_STATUS_ALLOC_FAILED     ? "CUSOLVER_STATUS_ALLOC_FAILED"
                       : status == CUSOLVER_STATUS_INVALID_VALUE    ? "CUSOLVER_STATUS_INVALID_VALUE"
                       : status == CUSOLVER_STATUS_ARCH_MISMATCH    ? "CUSOLVER_STATUS_ARCH_MISMATCH"
                       : status == CUSOLVER_STATUS_EXECUTION_FAILED ? "CUSOLVER_STATUS_EXECUTION_FAILED"
                       : status == CUSOLVER_STATUS_INTERNAL_ERROR   ? "CUSOLVER_STATUS_INTERNAL_ERROR"
                                                                    : "error of cuSOLVER";
    fail(call, name, static_cast<int>(status), where);
}

}  // namespace diem::detail::cuda
