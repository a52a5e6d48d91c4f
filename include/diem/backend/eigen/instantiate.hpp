// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/eigen/conv3x3.hpp>
#include <diem/backend/eigen/conv3x3_streamed.hpp>
#include <diem/backend/eigen/elementwise.hpp>
#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/gemm_rounded.hpp>
#include <diem/backend/eigen/low_rank_plan.hpp>
#include <diem/backend/eigen/matrix.hpp>
#include <diem/backend/eigen/random.hpp>

/// What takes long to compile in eigen_backend<T>, as explicit instantiations. A project of many units that defines
/// DIEM_EXTERN_TEMPLATES for all of them compiles it in one:
///
///     #include <diem/backend/eigen/instantiate.hpp>
///     DIEM_INSTANTIATE_EIGEN(, float)
///     DIEM_INSTANTIATE_EIGEN(, double)
///
/// Measured: units of the tests then take half to two thirds of the time.
#define DIEM_INSTANTIATE_EIGEN(linkage, T)                                                                             \
    linkage template void diem::detail::eigen::multiply<T>(                                                            \
        diem::detail::eigen::gemm_kernel, T, const T*, diem::index_t, diem::op, const T*, diem::index_t, diem::op, T,  \
        T*, diem::index_t, diem::index_t, diem::index_t, diem::index_t);                                               \
    linkage template void diem::detail::eigen::multiply_by_library<T>(T, const T*, diem::index_t, diem::op, const T*,  \
                                                                      diem::index_t, diem::op, T, T*, diem::index_t,   \
                                                                      diem::index_t, diem::index_t, diem::index_t);    \
    linkage template int diem::detail::eigen::cholesky_in_place<T>(T*, diem::index_t, diem::index_t);                  \
    linkage template void diem::detail::eigen::solve_lower<T>(const T*, diem::index_t, diem::op, diem::index_t, T*,    \
                                                              diem::index_t, diem::index_t);                           \
    linkage template void diem::detail::eigen::eigen_decomposition<T>(T*, diem::index_t, diem::index_t, T*);           \
    linkage template void diem::detail::eigen::axpby_row<T>(T, const T*, T, T*, diem::index_t);                        \
    linkage template double diem::detail::eigen::dot_row<T>(const T*, const T*, diem::index_t);                        \
    linkage template void diem::detail::eigen::random_row<true, T>(const diem::random_key&, std::uint32_t, T*,         \
                                                                   diem::index_t);                                     \
    linkage template void diem::detail::eigen::random_row<false, T>(const diem::random_key&, std::uint32_t, T*,        \
                                                                    diem::index_t);                                    \
    linkage template void diem::detail::eigen::gemm_packed<T>(const T*, diem::index_t, diem::index_t, diem::index_t,   \
                                                              const T*, diem::index_t, const T*, T*, diem::index_t,    \
                                                              diem::detail::eigen::sums_to, T);                        \
    linkage template void diem::detail::eigen::conv3x3_transform_weights<T>(                                           \
        const diem::detail::eigen::conv3x3_shape&, diem::detail::eigen::conv_pass,                                     \
        const diem::detail::eigen::conv_method&, const T*, T*, diem::index_t, diem::index_t);                          \
    linkage template void diem::detail::eigen::conv3x3_forward<T>(                                                     \
        const diem::detail::eigen::conv3x3_shape&, const diem::detail::eigen::conv_method&, const T*, const T*,        \
        const T*, T*, bool, diem::index_t, diem::index_t, T*);                                                         \
    linkage template void diem::detail::eigen::conv3x3_vjp_input<T>(                                                   \
        const diem::detail::eigen::conv3x3_shape&, const diem::detail::eigen::conv_method&, const T*, const T*, T*,    \
        bool, diem::index_t, diem::index_t, T*);                                                                       \
    linkage template void diem::detail::eigen::conv3x3_vjp_params<T>(                                                  \
        const diem::detail::eigen::conv3x3_shape&, const diem::detail::eigen::conv_method&, const T*, const T*, T*,    \
        bool, const diem::detail::eigen::conv3x3_block&, T*);                                                          \
    linkage template void diem::detail::eigen::conv3x3_vjp_bias<T>(const diem::detail::eigen::conv3x3_shape&,          \
                                                                   const T*, T*, bool, diem::index_t, diem::index_t);  \
    linkage template void diem::detail::eigen::conv3x3_streamed_images<T>(                                             \
        const diem::detail::eigen::conv3x3_shape&, diem::detail::eigen::conv_pass,                                     \
        const diem::detail::eigen::conv_method&, const T*, T*, diem::index_t, diem::index_t, T*);                      \
    linkage template void diem::detail::eigen::conv3x3_streamed_results<T>(                                            \
        const diem::detail::eigen::conv3x3_shape&, diem::detail::eigen::conv_pass,                                     \
        const diem::detail::eigen::conv_method&, const T*, const T*, const T*, T*, bool, diem::index_t, diem::index_t, \
        T*);                                                                                                           \
    linkage template void diem::detail::eigen::multiply_rounded<T>(const diem::detail::eigen::product_factors<T>&,     \
                                                                   T*);                                                \
    linkage template class diem::detail::eigen::low_rank_plan<T>;

// DIEM_INSTANTIATED: of the target diem::instantiated, see diem/instantiate.hpp.
#if defined(DIEM_EXTERN_TEMPLATES) || defined(DIEM_INSTANTIATED)
DIEM_INSTANTIATE_EIGEN(extern, float)
DIEM_INSTANTIATE_EIGEN(extern, double)
#endif
