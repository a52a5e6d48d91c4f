// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <diem/core/random.hpp>
#include <diem/io/json.hpp>
#include <diem/linop/mask.hpp>
#include <diem/prior/held_out.hpp>

#include "diem/measured.hpp"

/// Values of y that are kept back from learning, and predicted by what was learned: "held_out" of `diem fit`.
namespace program {

/// Keeps back a share of the values, by a seed of its own, so that they are independent of all that is drawn with `seed`
/// elsewhere. Of what `m` becomes nothing of them can be seen: zeros of y, and of the rows of A. A mask stays a mask. Throws
/// value_error where that leaves nothing to learn from, or keeps nothing back.
template <Backend B>
void hold_back(B& b, measured<B>& m, double share, std::uint64_t seed, const std::string& where) {
    using namespace diem;
    const auto all = m.observed(b);
    const auto drawn = prior::hold_out(b, all, share, {.seed = seed ^ 0x68656c64}, m.groups);
    const index_t rows = m.y.features(), n = m.items();
    batch<B> weights(b, rows, n), kept(b, rows, n), y(b, rows, n);
    b.copy(drawn.weights(), weights.view());
    const auto kept_y = drawn.kept();
    b.copy(kept_y.y(), y.view());
    batch<B, double> seen(b, n, 1);
    b.dot(weights.cview(), weights.cview(), seen.flat());
    double left = 0;
    for (const double each : to_host(b, seen)) left += each;
    const index_t values = rows * n - static_cast<index_t>(left);
    check_value(where, values > 0, "\"held_out\" of " + io::json(share).dump() + " keeps none of the values back");
    auto full = m.a;
    if (const auto* mask = m.a.as_mask()) {
        mask->apply(b, weights.cview(), kept.view());
        m.a = linop::mask<B>::per_item(std::move(kept));
    } else {
        b.copy(weights.cview(), kept.view());
        m.a = support::any_operator<B>::in_turn({full, linop::mask<B>::per_item(std::move(kept))});
    }
    m.held.emplace(kept_back<B>{std::move(m.own), m.y, std::move(full), std::move(weights), values});
    m.own = std::move(y);
    m.y = m.own.cview();
    m.share -= static_cast<double>(values) / static_cast<double>(rows * n);
    examine(b, m, where);
}

}  // namespace program
