// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <diem/backend/batch.hpp>

/// What cases on any backend are made of, and checked with.
template <diem::Backend B>
diem::batch<B> draw(B& b, diem::index_t features, diem::index_t items, std::uint32_t which) {
    diem::batch<B> x(b, features, items);
    b.fill_normal({7, diem::random_lane::user, which, 0}, x.view());
    return x;
}
template <diem::Backend B>
bool finite(B& b, diem::const_view_t<B> x) {
    for (const float v : to_host(b, x))
        if (!std::isfinite(v)) return false;
    return true;
}
/// <x, y> over all items.
template <diem::Backend B>
double inner(B& b, diem::const_view_t<B> x, diem::const_view_t<B> y) {
    diem::batch<B, double> out(b, x.items(), 1);
    b.dot(x, y, out.flat());
    double sum = 0;
    for (const double v : to_host(b, out)) sum += v;
    return sum;
}
