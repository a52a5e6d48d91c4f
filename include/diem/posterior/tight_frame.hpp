// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>

#include <diem/backend/batch.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// Whether an operator shows all that it shows equally well.
/// \snippet tests/examples/posterior.cpp posterior/tight_frame.hpp

namespace diem::posterior {

/// Of the items, see `tight_frame`.
struct frame_constants {
    double least, most;
};

/// The least and the largest c where A A'v = c v for all v = A z of each item: masks (c = 1), samples of a Fourier transform,
/// averages of blocks. None for blurs, several coils, and A that are not linear. By one random z an item; `tolerance`: of the squared
/// sine between A A'v and v. Items that show nothing do not count (least = most = 1 where none shows anything).
template <Backend B, class Observation>
[[nodiscard]] std::optional<frame_constants> tight_frame(B& b, const Observation& observed, double tolerance = 1e-4) {
    if constexpr (!linop::LinearOperator<typename Observation::operator_type, B>) {
        return std::nullopt;
    } else {
        const index_t n = observed.items();
        const auto& a = observed.forward_operator();
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
        frame_constants c{std::numeric_limits<double>::infinity(), 0};
        for (std::size_t i = 0; i < vv.size(); ++i) {
            if (!(vv[i] * ww[i] - vw[i] * vw[i] <= tolerance * vv[i] * ww[i])) return std::nullopt;
            if (vv[i] == 0) continue;
            c.least = std::min(c.least, vw[i] / vv[i]);
            c.most = std::max(c.most, vw[i] / vv[i]);
        }
        return c.most > 0 ? c : frame_constants{1, 1};
    }
}

}  // namespace diem::posterior
