// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <diem/diffusion/sampling.hpp>
#include <diem/em/fit.hpp>
#include <diem/posterior/options.hpp>
#include <diem/train/ppca.hpp>

/// \file
/// Options of the Gaussian stage.
/// \snippet tests/examples/prior.cpp prior/gaussian_options.hpp

namespace diem::prior {

/// E-steps under a Gaussian prior.
enum class gaussian_e_step {
    automatic,  ///< of Gaussian EM, `choose_gaussian_e_step`; of the first lap of a network, draws where no options of MMPS are given
    moments,  ///< `exact_moments`: the evidence never decreases. D^2 numbers of memory
    draws,    ///< `exact_draws`: samples without a sampler, by a closed form where there is one, else by one solve each
    diffusion,  ///< `posterior::sample`: by a diffusion sampler on MMPS, as the paper
};

namespace detail {
inline constexpr std::array<std::string_view, 4> e_step_names{"auto", "moments", "draws", "diffusion"};
}  // namespace detail
/// As configurations name it.
[[nodiscard]] constexpr std::string_view to_string(gaussian_e_step e) {
    return detail::e_step_names[static_cast<std::size_t>(e)];
}

/// What the variances beside the low-rank part are of.
enum class gaussian_basis {
    values,  ///< x itself
    frequencies,  ///< the coefficients of images in `linop::hartley`: with train::rest::diagonal a spectrum, so that what was not
    ///< seen of an image is drawn with its strength at other frequencies. Draws have a closed form where A'A is diagonal in
    ///< it (Fourier samples of one coil, circular convolutions). Not for moments
    cosines,  ///< those in `linop::cosine`: the same for images whose edges have nothing to do with each other and whose channels
    ///< are alike, as colours are. Not for moments
};

struct gaussian_fit_options {
    em::fit_options fit{.max_laps = 16};
    gaussian_e_step e_step = gaussian_e_step::automatic;
    train::ppca_options ppca{.rank = 64};  ///< rank is cut to the number of features
    /// Of the N(0, s^2 I) where `learn` starts, in the data's scale; 0: `recoverability::start_variance`.
    double start_variance = 0;
    gaussian_basis basis = gaussian_basis::values;
    index_t height = 0, width = 0, channels = 0;  ///< of images; needed by `frequencies` and `cosines`
    index_t batch = 256;                          ///< observations at once; of moments and draws
    bool measure_evidence =
        true;  ///< of moments and draws (where it costs nothing), and of diffusion where A and Sigma_y are element-wise
    // The E-step by diffusion only: the paper's initial stage, conjugate gradients to convergence.
    diffusion::sampling_options sampling{.sampler = diffusion::sampler_choice::ddim};
    posterior::mmps_options mmps{.max_iterations = 64, .relative_tolerance = 1e-3};
    std::uint64_t seed = 0;
};
/// Leaves out what does not go with the basis: a preconditioner of MMPS is made of the variances of values.
inline void suit_basis(gaussian_fit_options& o) {
    if (o.basis != gaussian_basis::values) o.mmps.precondition = false;
}

}  // namespace diem::prior
