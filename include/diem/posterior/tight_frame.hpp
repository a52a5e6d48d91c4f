// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include <diem/backend/batch.hpp>
#include <diem/linop/concept.hpp>
#include <diem/posterior/observation.hpp>

/// \file
/// Whether an operator shows all that it shows equally well.
/// \snippet tests/examples/posterior.cpp posterior/tight_frame.hpp

namespace diem::posterior {

/// c where A A'v = c v for all v = A z: masks (c = 1), samples of a Fourier transform, averages of blocks. None for blurs, several
/// coils, and A that are not linear. By random z, within 1 %, from the first items of an observation; c is their mean.
template <Backend B, class Observation>
[[nodiscard]] std::optional<double> tight_frame(B& b, const Observation& observed) {
    if constexpr (!linop::LinearOperator<typename Observation::operator_type, B>) {
        return std::nullopt;
    } else {
        constexpr index_t few = 4;
        const index_t n = std::min(few, observed.items());
        const auto part = observed.items(0, n);
        const auto& a = part.forward_operator();
        batch<B> x(b, a.cols(), n), v(b, a.rows(), n), w(b, a.rows(), n);
        b.fill_normal({.seed = 0x6974657273}, x.view());
        a.apply(b, x.cview(), v.view());
        a.apply_adjoint(b, v.cview(), x.view());
        a.apply(b, x.cview(), w.view());
        const auto dots = [&](const batch<B>& p, const batch<B>& q) {
            batch<B, double> d(b, n, 1);
            b.dot(p.view(), q.view(), d.flat());
            return to_host(b, d);
        };
        const auto vv = dots(v, v), vw = dots(v, w), ww = dots(w, w);
        double sum = 0;
        for (std::size_t i = 0; i < vv.size(); ++i) {
            if (!(vv[i] * ww[i] - vw[i] * vw[i] <= 1e-4 * vv[i] * ww[i])) return std::nullopt;
            sum += vv[i] > 0 ? vw[i] / vv[i] : 1;  // an item that shows nothing
        }
        return n > 0 ? sum / static_cast<double>(n) : 1;
    }
}

}  // namespace diem::posterior
