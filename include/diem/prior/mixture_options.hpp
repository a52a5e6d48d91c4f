// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>
#include <diem/prior/gaussian_options.hpp>

/// \file
/// Options of a mixture of Gaussians as the start of a network.
/// \snippet tests/examples/prior.cpp prior/mixture_options.hpp

namespace diem::prior {

struct mixture_options {
    index_t components = 1;  ///< 1: there is none, and the first lap draws under the Gaussian itself
    index_t laps = 12;       ///< of its EM
    /// In each covariance, so many observations' worth of the one that all components share.
    double shared = 30;
};

/// Throws value_error for options out of range, more components than observations, more than 1024 features, or where the
/// Gaussian that EM of a mixture begins with is of another basis than values.
inline void check_mixture(const mixture_options& o, index_t features = 0, index_t items = -1,
                          gaussian_basis basis = gaussian_basis::values) {
    constexpr const char* where = "prior::mixture_options";
    check_value(where, o.components >= 1, "components is " + std::to_string(o.components) + ", expected at least 1");
    check_value(where, items < 0 || o.components <= items,
                "components is " + std::to_string(o.components) +
                    ", expected at most the number of observations that a lap draws from, " + std::to_string(items));
    check_value(where, o.laps >= 0, "laps is " + std::to_string(o.laps) + ", expected at least 0");
    check_value(where, o.shared > 0 && std::isfinite(o.shared), "shared is not above 0");
    check_value(where, o.components == 1 || features <= 1024,
                "a mixture is for at most 1024 features, x has " + std::to_string(features));
    check_value(where, o.components == 1 || basis == gaussian_basis::values,
                "a mixture needs \"gaussian.basis\": \"values\"");
}

}  // namespace diem::prior
