// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The library's own classes on the Eigen backend, as explicit instantiations: what a program that learns and samples compiles for
/// minutes, though it is the same in every program. The target diem::instantiated compiles it once, in float, and defines
/// DIEM_INSTANTIATED for the units that link to it, which then leave it out. After `find_package(diem REQUIRED COMPONENTS instantiated)`:
/// \snippet tests/install/find_package/CMakeLists.txt instantiate.hpp

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <diem/algorithms.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/io/json.hpp>

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
                                                diem::model::any_network<diem::eigen_backend<T>>>;                     \
    linkage template struct diem::nn::detail::unet_stage<diem::eigen_backend<T>>;                                      \
    linkage template struct diem::nn::detail::unet_stages<diem::eigen_backend<T>>;                                     \
    linkage template struct diem::diffusion::detail::harmonic_form<diem::eigen_backend<T>>;                            \
    linkage template class diem::model::gaussian_skip<diem::eigen_backend<T>>;                                         \
    linkage template bool diem::diffusion::detail::sample_chosen<diem::eigen_backend<T>>(                              \
        diem::eigen_backend<T>&, diem::diffusion::detail::any_denoiser<diem::eigen_backend<T>>,                        \
        const diem::diffusion::sampling_options&, const diem::diffusion::sampler_start<diem::eigen_backend<T>>&,       \
        const diem::random_key&, diem::view_t<diem::eigen_backend<T>>, const std::atomic<bool>*);                      \
    linkage template class diem::linop::low_rank_innovation<diem::eigen_backend<T>>;                                   \
    linkage template class diem::posterior::elementwise_conditional<diem::eigen_backend<T>>;                           \
    linkage template class diem::train::optimizer<diem::eigen_backend<T>>;                                             \
    linkage template diem::train::ppca_result<diem::eigen_backend<T>> diem::train::ppca<diem::eigen_backend<T>>(       \
        diem::eigen_backend<T>&, diem::const_view_t<diem::eigen_backend<T>>, const diem::train::ppca_options&,         \
        const diem::train::ppca_result<diem::eigen_backend<T>>*);                                                      \
    linkage template diem::train::ppca_result<diem::eigen_backend<T>>                                                  \
    diem::train::ppca_of_covariance<diem::eigen_backend<T>>(                                                           \
        diem::eigen_backend<T>&, diem::const_view_t<diem::eigen_backend<T>>, diem::view_t<diem::eigen_backend<T>>,     \
        const diem::train::ppca_options&, const diem::train::ppca_result<diem::eigen_backend<T>>*);                    \
    linkage template diem::train::training_report diem::train::fit_denoiser<                                           \
        diem::eigen_backend<T>,                                                                                        \
        diem::model::preconditioned<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>,         \
        const std::function<bool(const diem::train::training_progress&)>&, diem::parallel::any_communicator>(          \
        diem::eigen_backend<T>&,                                                                                       \
        diem::model::preconditioned<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>&,        \
        diem::const_view_t<diem::eigen_backend<T>>, const diem::train::training_options&,                              \
        diem::train::training_state<diem::eigen_backend<T>>&,                                                          \
        const std::function<bool(const diem::train::training_progress&)>&, const diem::parallel::any_communicator&);   \
    linkage template class diem::prior::checkpoint_writer<diem::eigen_backend<T>>;                                     \
    linkage template class diem::prior::checkpoint_reader<diem::eigen_backend<T>>;                                     \
    linkage template class diem::prior::detail::run_file<diem::eigen_backend<T>,                                       \
                                                         diem::model::any_network<diem::eigen_backend<T>>>;            \
    linkage template class diem::prior::detail::gaussian_run<diem::eigen_backend<T>,                                   \
                                                             diem::model::any_network<diem::eigen_backend<T>>>;        \
    linkage template void diem::prior::save<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>( \
        const std::filesystem::path&, diem::eigen_backend<T>&,                                                         \
        const diem::prior::learned<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>&);        \
    linkage template diem::prior::learned<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>    \
    diem::prior::load<diem::eigen_backend<T>, diem::model::any_network<diem::eigen_backend<T>>>(                       \
        const std::filesystem::path&, diem::eigen_backend<T>&, std::string*);

/// What learns from and restores y = A x + e, A an operator of this type and e white noise: the most of what a unit with an operator compiles.
/// The target has linop::mask; for an operator of your own say it with `extern` in the units and with nothing in one of them:
///
///     DIEM_INSTANTIATE_LEARNING(extern, float, blur)
#define DIEM_INSTANTIATE_LEARNING(linkage, T, ...) \
    DIEM_INSTANTIATE_OBSERVED(                     \
        linkage, diem::eigen_backend<T>,           \
        diem::posterior::observation<diem::eigen_backend<T>, __VA_ARGS__, diem::linop::isotropic_covariance>)

#define DIEM_INSTANTIATE_OBSERVED(linkage, B, ...)                                                             \
    linkage template diem::prior::learn_result<B> diem::prior::learn<B, __VA_ARGS__>(                          \
        B&, const __VA_ARGS__&, const std::optional<diem::model::network_config>&, diem::prior::learn_options, \
        const diem::prior::run<B>&);                                                                           \
    DIEM_INSTANTIATE_SAMPLING(linkage, B, diem::prior::learned<B>, __VA_ARGS__)                                \
    DIEM_INSTANTIATE_SAMPLING(linkage, B, const diem::prior::learned<B>, __VA_ARGS__)

#define DIEM_INSTANTIATE_SAMPLING(linkage, B, Prior, ...)                                                   \
    linkage template diem::posterior::sample_state diem::posterior::sample<B, Prior, __VA_ARGS__>(          \
        B&, Prior&, const __VA_ARGS__&, const diem::random_key&, diem::view_t<B>);                          \
    linkage template diem::posterior::sample_state diem::posterior::sample<B, Prior, __VA_ARGS__>(          \
        B&, Prior&, const __VA_ARGS__&, const diem::posterior::sample_options<B>&, const diem::random_key&, \
        diem::view_t<B>);

#define DIEM_INSTANTIATE_JSON(linkage) linkage template class nlohmann::basic_json<>;

#if defined(DIEM_INSTANTIATED)
DIEM_INSTANTIATE_MODELS(extern, float)
DIEM_INSTANTIATE_LEARNING(extern, float, diem::linop::mask<diem::eigen_backend<float>>)
DIEM_INSTANTIATE_JSON(extern)
#endif
