// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>

/// \file
/// The products of networks: `Backend`'s gemm and gemm_batched, by a backend's own form for networks where it has one.

namespace diem::nn::detail {

template <Backend B>
void gemm(B& b, scalar_t<B> alpha, const_view_t<B> x, op tx, const_view_t<B> y, op ty, scalar_t<B> beta, view_t<B> z) {
    if constexpr (HasNetworkGemm<B>)
        b.network_gemm(alpha, x, tx, y, ty, beta, z);
    else
        b.gemm(alpha, x, tx, y, ty, beta, z);
}
template <Backend B>
void gemm_batched(B& b, scalar_t<B> alpha, const_matrices_t<B> x, op tx, const_matrices_t<B> y, op ty, scalar_t<B> beta,
                  matrices_t<B> z) {
    if constexpr (HasNetworkGemm<B>)
        b.network_gemm_batched(alpha, x, tx, y, ty, beta, z);
    else
        b.gemm_batched(alpha, x, tx, y, ty, beta, z);
}

}  // namespace diem::nn::detail
