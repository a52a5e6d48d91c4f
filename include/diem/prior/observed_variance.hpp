// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/posterior/observation.hpp>

/// The scale of x, from observations alone.
namespace diem::prior {

/// Mean squares of a value of x, were its values independent of mean 0: |y|^2 / |A z|^2 with z ~ N(0, I), summed over the
/// observations. Data with a mean, or smooth ones behind a blur, are taken for wider.
struct observed_variance {
    double with_noise = 0;  ///< not finite where A is zero
    double of_x = 0;  ///< |y|^2 less |e|^2 in the place of |y|^2, noise e drawn anew; 0 where the noise has more power
};

namespace detail {

/// Rows that A does not reach tell nothing: v = 0 where image = A z is. Index: item.
template <class T>
struct clear_unreached {
    index_t rows;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* image, T* v) const {
        for (index_t k = i * rows; k < (i + 1) * rows; ++k)
            if (image[k] == T(0)) v[k] = T(0);
    }
};

}  // namespace detail

template <Backend B, class Observation>
[[nodiscard]] observed_variance observed_variance_of(B& b, const Observation& observed) {
    const auto& a = observed.forward_operator();
    const index_t n = observed.items(), rows = a.rows();
    double of_y = 0, of_noise = 0, of_a = 0;
    const auto energy = [&](const batch<B>& v) {
        batch<B, double> squares(b, v.items(), 1);
        b.dot(v.view(), v.view(), squares.flat());
        double sum = 0;
        for (const double s : to_host(b, squares)) sum += s;
        return sum;
    };
    for (index_t first = 0; first < n; first += 256) {
        const index_t count = std::min<index_t>(256, n - first);
        const auto part = observed.items(first, count);
        const random_key key = random_key{.seed = 0x7370726561}.skip_items(static_cast<std::uint32_t>(first));
        batch<B> z(b, a.cols(), count), image(b, rows, count), v(b, rows, count);
        b.fill_normal(key.with_lane(random_lane::user), z.view());
        part.forward_operator().apply(b, z.cview(), image.view());
        of_a += energy(image);
        const auto reached = [&] {
            b.launch(count, rows, detail::clear_unreached<scalar_t<B>>{rows}, image.cview().data(), v.view().data());
            return energy(v);
        };
        part.noise().sample(b, key.with_lane(random_lane::user + 1), v.view());
        of_noise += reached();
        b.copy(part.y(), v.view());
        of_y += reached();
    }
    return {of_y / of_a, std::max(of_y - of_noise, 0.0) / of_a};
}

}  // namespace diem::prior
