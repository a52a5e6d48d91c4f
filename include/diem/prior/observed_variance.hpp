// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/items_at_once.hpp>

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
    const auto energy = [&](const_view_t<B> v, double& sum) {
        batch<B, double> squares(b, v.items(), 1);
        b.dot(v, v, squares.flat());
        for (const double s : to_host(b, squares)) sum += s;
    };
    const index_t blocks = std::max<index_t>(1, (n + 255) / 256), step = detail::items_at_once(rows, cols);
    for (index_t k = 0; k < blocks; ++k) {
        const index_t begin = n * k / blocks, end = n * (k + 1) / blocks;
        double z_here = 0, noise_here = 0, y_here = 0, u_here = 0, seen_here = 0;
        // A of what the adjoint makes of each observation's successor in the block; of the last, of the first one.
        const auto next = [&](index_t first, const_view_t<B> u) {
            batch<B> image(b, rows, u.items());
            observed.items(first, u.items()).forward_operator().apply(b, u, image.view());
            energy(u, u_here);
            energy(image.cview(), seen_here);
        };
        batch<B> of_first(b, cols, 1);
        for (index_t first = begin; first < end; first += step) {
            const index_t count = std::min(step, end - first);
            const auto part = observed.items(first, count);
            const random_key key = random_key{.seed = 0x7370726561}.skip_items(static_cast<std::uint32_t>(first));
            batch<B> z(b, cols, count);
            {
                batch<B> image(b, rows, count), v(b, rows, count);
                b.fill_normal(key.with_lane(random_lane::user), z.view());
                part.forward_operator().apply(b, z.cview(), image.view());
                energy(image.cview(), z_here);
                const auto reached = [&](double& sum) {
                    b.launch(count, rows, detail::clear_unreached<scalar_t<B>>{rows}, image.cview().data(),
                             v.view().data());
                    energy(v.cview(), sum);
                };
                part.noise().sample(b, key.with_lane(random_lane::user + 1), v.view());
                reached(noise_here);
                b.copy(part.y(), v.view());
                reached(y_here);
                part.forward_operator().apply_adjoint(b, v.cview(), z.view());
            }
            const index_t skipped = first == begin ? 1 : 0;
            if (skipped > 0) b.copy(z.cview().item_range(0, 1), of_first.view());
            if (count > skipped) next(first + skipped - 1, z.cview().item_range(skipped, count - skipped));
        }
        if (end > begin) next(end - 1, of_first.cview());
        of_z += z_here;
        of_noise += noise_here;
        of_y += y_here;
        of_u += u_here;
        of_seen += seen_here;
    }
    const double gain = of_seen > 0 ? static_cast<double>(n * cols) * (of_seen / of_u) : of_z;
    return {of_y / gain, std::max(of_y - of_noise, 0.0) / gain};
}

}  // namespace diem::prior
