// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/macros.hpp>

/// \file
/// Rows of numbers that lie side by side, such as the channels of a pixel: a thread of the host goes over a row alone, in
/// vectors; on a FineGrained backend a team of threads does, side by side, and sums over its members.
/// \snippet tests/examples/backend.cpp backend/team.hpp

namespace diem {

/// A team of one. Any team has the same functions: member `first()` takes the numbers first(), first() + step(), ... of a row,
/// and every member is given the result of `sum` and `maximum` over all of them.
struct alone {
    [[nodiscard]] DIEM_HOST_DEVICE static constexpr index_t first() { return 0; }
    [[nodiscard]] DIEM_HOST_DEVICE static constexpr index_t step() { return 1; }
    template <class T>
    [[nodiscard]] DIEM_HOST_DEVICE static constexpr T sum(T v) {
        return v;
    }
    template <class T>
    [[nodiscard]] DIEM_HOST_DEVICE static constexpr T maximum(T v) {
        return v;
    }
};

namespace detail {
template <class F>
struct by_one {
    F f;
    template <class... Pointers>
    DIEM_HOST_DEVICE void operator()(index_t i, Pointers... pointers) const {
        f(i, alone{}, pointers...);
    }
};
}  // namespace detail

/// f(i, team, raw pointers...) for the rows i = 0 .. count - 1, each of `length` numbers of which it touches `cost`. A number of
/// a result may be written by the member alone whose number it is.
template <Backend B, class F, class... Pointers>
void launch_rows(B& b, index_t count, index_t length, index_t cost, const F& f, Pointers... pointers) {
    if constexpr (FineGrained<B>)
        b.launch_teams(count, length, f, pointers...);
    else
        b.launch(count, cost, detail::by_one<F>{f}, pointers...);
}

}  // namespace diem
