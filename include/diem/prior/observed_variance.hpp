// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/posterior/observation.hpp>

/// \file
/// The scale of x, from observations alone.
/// \snippet tests/examples/prior.cpp prior/observed_variance.hpp

namespace diem::prior {

/// Mean squares of a value of x: sum |y|^2 / (N D g), where g = |A u|^2 / |u|^2 is the gain that A has for what observations
/// look like, u = A'y of another observation. So smooth data behind a blur are not taken for wide by its mean gain, which
/// hardly any of them has; behind masks g is the share that is seen. Where A shows nothing of such u, g = |A z|^2 / D,
/// z ~ N(0, I). Data with a mean are taken for wider.
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
    const index_t n = observed.items(), rows = a.rows(), cols = a.cols();
    double of_y = 0, of_noise = 0, of_z = 0, of_u = 0, of_seen = 0;
    const auto energy = [&](const batch<B>& v) {
        batch<B, double> squares(b, v.items(), 1);
        b.dot(v.view(), v.view(), squares.flat());
        double sum = 0;
        for (const double s : to_host(b, squares)) sum += s;
        return sum;
    };
    const index_t blocks = std::max<index_t>(1, (n + 255) / 256);
    for (index_t k = 0; k < blocks; ++k) {
        const index_t first = n * k / blocks, count = n * (k + 1) / blocks - first;
        const auto part = observed.items(first, count);
        const random_key key = random_key{.seed = 0x7370726561}.skip_items(static_cast<std::uint32_t>(first));
        batch<B> z(b, cols, count), u(b, cols, count), image(b, rows, count), v(b, rows, count);
        b.fill_normal(key.with_lane(random_lane::user), z.view());
        part.forward_operator().apply(b, z.cview(), image.view());
        of_z += energy(image);
        const auto reached = [&] {
            b.launch(count, rows, detail::clear_unreached<scalar_t<B>>{rows}, image.cview().data(), v.view().data());
            return energy(v);
        };
        part.noise().sample(b, key.with_lane(random_lane::user + 1), v.view());
        of_noise += reached();
        b.copy(part.y(), v.view());
        of_y += reached();
        part.forward_operator().apply_adjoint(b, v.cview(), z.view());
        b.copy(z.cview().item_range(0, 1), u.view().item_range(count - 1, 1));  // each to the observation before
        b.copy(z.cview().item_range(1, count - 1), u.view().item_range(0, count - 1));
        part.forward_operator().apply(b, u.cview(), image.view());
        of_u += energy(u);
        of_seen += energy(image);
    }
    const double gain = of_seen > 0 ? static_cast<double>(n * cols) * (of_seen / of_u) : of_z;
    return {of_y / gain, std::max(of_y - of_noise, 0.0) / gain};
}

}  // namespace diem::prior
