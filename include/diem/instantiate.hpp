// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The library's own classes on the Eigen backend, as explicit instantiations: what a program that learns and samples compiles for
/// minutes, though it is the same in every program. The target diem::instantiated compiles it once, in float, and defines
/// DIEM_INSTANTIATED for the units that link to it, which then leave it out. After `find_package(diem REQUIRED COMPONENTS instantiated)`:
/// \snippet tests/install/find_package/CMakeLists.txt instantiate.hpp

#include <diem/algorithms.hpp>
#include <diem/backend/eigen.hpp>

#define DIEM_INSTANTIATE_MODELS(linkage, T)                                                                            \
    linkage template class diem::nn::attention_block<diem::eigen_backend<T>>;                                          \
    linkage template class diem::nn::conv_plan<diem::eigen_backend<T>>;                                                \
    linkage template class diem::nn::ddpm_unet<diem::eigen_backend<T>>;                                                \
    linkage template class diem::nn::mlp<diem::eigen_backend<T>>;                                                      \
    linkage template class diem::nn::modulation<diem::eigen_backend<T>>;                                               \
    linkage template class diem::nn::residual_block<diem::eigen_backend<T>>;                                           \
    linkage template class diem::nn::unet<diem::eigen_backend<T>>;                                                     \
    linkage template class diem::diffusion::gaussian<diem::eigen_backend<T>>;                                          \
    linkage template class diem::diffusion::gaussian_jacobian<diem::eigen_backend<T>>;                                 \
    linkage template class diem::model::any_network<diem::eigen_backend<T>>;                                           \
    linkage template class diem::model::preconditioned<diem::eigen_backend<T>, diem::nn::mlp<diem::eigen_backend<T>>>; \
    linkage template class diem::model::preconditioned<diem::eigen_backend<T>,                                         \
                                                       diem::nn::unet<diem::eigen_backend<T>>>;                        \
    linkage template class diem::model::preconditioned<diem::eigen_backend<T>,                                         \
                                                       diem::model::any_network<diem::eigen_backend<T>>>;              \
    linkage template class diem::prior::learned<diem::eigen_backend<T>,                                                \
                                                diem::model::any_network<diem::eigen_backend<T>>>;

#if defined(DIEM_INSTANTIATED)
DIEM_INSTANTIATE_MODELS(extern, float)
#endif
