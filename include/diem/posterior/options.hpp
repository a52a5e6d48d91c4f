// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/core/view.hpp>

/// \file
/// Options of MMPS.
/// \snippet tests/examples/posterior.cpp posterior/options.hpp

namespace diem::posterior {

/// What stands for V = Cov[x | x_t] in M = Sigma_y + A V A', and in the correction V A' v.
enum class covariance {
    tweedie,     ///< sigma^2 J' of the model, both: the paper's choice
    isotropic,   ///< sigma^2 I in M; the correction by the model's VJP
    unit_prior,  ///< (I + sigma^-2 I)^-1 in M, the covariance for x ~ N(0, I) (PiGDM); the correction by the VJP
    none,        ///< 0 in M (M = Sigma_y, as in DPS); the correction by the VJP
    gaussian_heuristic,  ///< of the Gaussian estimate in M; the correction by the VJP ("cov_x" in the official code)
    gaussian,            ///< of the Gaussian estimate, both: no VJP
    blended,             ///< `gaussian` where sigma > switch_sigma, else `tweedie`
};

/// How M v = y - A x_hat is solved. A learned Jacobian is not symmetric: cg treats M as if it were. `fom` is gmres with the
/// Galerkin condition, whose residual never grows, whatever M is; see solver/gmres.hpp.
enum class solver_choice { cg, gmres, fom, bicgstab };

/// Iterations by what A is, see `iterations_for`.
inline constexpr index_t by_operator = -1;

/// What `mmps` does, chosen when the program runs. In a program that knows: posterior/policies.hpp.
struct mmps_options {
    covariance cov_x = covariance::tweedie;
    solver_choice solver = solver_choice::cg;
    index_t max_iterations = 1;     ///< of the solver, one VJP each (bicgstab: two); or by_operator
    double relative_tolerance = 0;  ///< of ||y - A x_hat||; 0: all iterations are made
    index_t check_every = 1;        ///< with a tolerance, the host asks every so many iterations whether all items are
        ///< done (waiting for a device); 0: never, so that the step can be captured as a graph
    bool verify = true;         ///< with a tolerance: one VJP more, for the true residual; see `solver::solver_options`
    double switch_sigma = 3;    ///< of `blended`, data units
    index_t block_items = 0;    ///< items worked on together; 0: what suits the backend's caches where the model is
                                ///< analytic, else the whole batch
    bool precondition = false;  ///< by the Gaussian estimate; needs element-wise A and Sigma_y, and cg, gmres or fom
    /// Where V is the Gaussian estimate's, above the switch of `blended` say, solves are made to convergence: no product costs a
    /// pass of the network there.
    bool converge_gaussian = false;
};

namespace detail {
template <class E, std::size_t N>
E from_name(std::string_view what, std::string_view name, const std::array<std::string_view, N>& names) {
    std::string known;
    for (std::size_t k = 0; k < N; ++k) {
        if (names[k] == name) return static_cast<E>(k);
        known += (k ? ", " : "") + std::string(names[k]);
    }
    throw config_error(std::string(what) + ": unknown name '" + std::string(name) + "', expected one of " + known);
}
inline constexpr std::array<std::string_view, 7> covariance_names{
    "tweedie", "isotropic", "unit_prior", "none", "gaussian_heuristic", "gaussian", "blended"};
inline constexpr std::array<std::string_view, 4> solver_names{"cg", "gmres", "fom", "bicgstab"};
}  // namespace detail

[[nodiscard]] inline std::string_view to_string(covariance c) {
    return detail::covariance_names[static_cast<std::size_t>(c)];
}
[[nodiscard]] inline std::string_view to_string(solver_choice s) {
    return detail::solver_names[static_cast<std::size_t>(s)];
}
/// The choice of that name. Throws config_error, listing the names.
[[nodiscard]] inline covariance covariance_from(std::string_view name) {
    return detail::from_name<covariance>("covariance", name, detail::covariance_names);
}
[[nodiscard]] inline solver_choice solver_from(std::string_view name) {
    return detail::from_name<solver_choice>("solver", name, detail::solver_names);
}

}  // namespace diem::posterior
