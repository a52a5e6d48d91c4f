// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include <diem/backend/batch.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/status.hpp>

/// \file
/// Whether a direction p may be gone along. M = N + A V A' with V >= 0 has p'Mp >= p'Np, so less than that, beyond rounding,
/// shows that V is not positive along A'p; 0 < p'Mp alone lets steps of any length pass, p'Mp being as small as it likes.

namespace diem::solver::detail {

/// N = s I with s = floor_variance(): p'p is enough.
template <class A, class B>
inline constexpr bool isotropic_floor = linop::FlooredOperator<A, B> && requires(const A& a) { a.floor_variance(); };

/// p'Np of a `FlooredOperator`, but p'p where N = s I, see `curvature_rule`; nothing of others.
template <Backend B, class A>
void floor_of(B& b, const A& a, const_view_t<B> p, vector_t<B, double> out) {
    if constexpr (isotropic_floor<A, B>)
        b.dot(p, p, out);
    else if constexpr (linop::FlooredOperator<A, B>)
        a.floor(b, p, out);
}

struct curvature_rule {
    bool floored;    ///< else the floor is not read
    double scale;    ///< of the floor: s
    double epsilon;  ///< of the arithmetic: N p itself is rounded
    [[nodiscard]] DIEM_HOST_DEVICE bool allows(double curvature, const double* floor) const {
        return curvature > 0 && (!floored || curvature >= (1 - 16 * epsilon) * scale * *floor);
    }
};
template <Backend B, class A>
[[nodiscard]] curvature_rule curvature_rule_of(const A& a) {
    double scale = 1;
    if constexpr (isotropic_floor<A, B>) scale = a.floor_variance();
    return {linop::FlooredOperator<A, B>, scale, static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon())};
}

}  // namespace diem::solver::detail
