// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/macros.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/exact_draws.hpp>

/// \file
/// Internal: some items of an observation, wherever they stand.
namespace diem::prior::detail {

struct gather_items {  // item i of `to` = item index[i] of `from`
    index_t features, from_stride, to_stride;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const int* index, const T* from, T* to) const {
        for (index_t j = team.first(); j < features; j += team.step())
            to[i * to_stride + j] = from[index[i] * from_stride + j];
    }
};

/// Some items of an observation, wherever they stand: of element-wise A and Sigma_y those alone, of others all.
template <Backend B, class Observation>
class some_items {
    using T = scalar_t<B>;

public:
    some_items(B& b, const Observation& observed) : observed_(observed) {
        if (!is_mask(observed)) return;
        const index_t d = observed.y().features(), n = observed.items();
        batch<B> ones(b, d, n);
        b.fill(ones.view(), T(1));
        gain_ = batch<B>(b, d, n);
        variance_ = batch<B>(b, d, n);
        observed.forward_operator().apply(b, ones.cview(), gain_.view());
        observed.noise().apply(b, ones.cview(), variance_.view());
    }
    /// f(observation, indices of its items); not called where there are none.
    template <class F>
    void at(B& b, const std::vector<int>& index, const F& f) const {
        if (index.empty()) return;
        if (is_mask(observed_)) {
            const index_t d = gain_.features(), n = static_cast<index_t>(index.size());
            const auto of = to_backend(b, index, n, 1);
            const auto taken = [&](const_view_t<B> from) {
                batch<B> to(b, d, n);
                launch_rows(b, n, d, d, gather_items{d, from.stride(), d}, of.cview().data(), from.data(),
                            to.view().data());
                return to;
            };
            const auto y = taken(observed_.y()), gain = taken(gain_.cview()), variance = taken(variance_.cview());
            f(posterior::observe(b, y.cview(), linop::diagonal<B>::per_item(gain.cview()),
                                 linop::diagonal_covariance<B>::per_item(b, variance.cview())),
              index);
        } else if constexpr (!is_elementwise<Observation>) {
            std::vector<int> all(static_cast<std::size_t>(observed_.items()));
            std::iota(all.begin(), all.end(), 0);
            f(observed_, all);
        }
    }

private:
    const Observation& observed_;
    batch<B> gain_, variance_;
};

}  // namespace diem::prior::detail
