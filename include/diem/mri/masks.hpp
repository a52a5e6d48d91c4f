// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <diem/mri/kspace.hpp>

/// \file
/// Which frequencies are measured.
/// \snippet tests/examples/mri.cpp mri/masks.hpp

namespace diem::mri {

/// How frequencies outside the centre are chosen; n positions (columns, or frequencies of a full-size mask), acceleration R.
enum class mask_kind {
    /// Each by itself, with the probability that makes n / R in expectation: the method's own masks.
    bernoulli,
    /// round(n / R) in all, those outside the centre at equal steps from a random start (to the rounding of a step). Columns only.
    equispaced,
    /// round(n / R) in all, any of them alike.
    random,
    /// round(n / R) in all, no two outside the centre nearer than the smaller of their radii, and the radii as large as that many
    /// allow (found by bisection, positions tried in a random order). R. Bridson, Fast Poisson disk sampling, 2007, on a grid.
    poisson_disk,
};

struct mask_options {
    mask_kind kind = mask_kind::bernoulli;
    double acceleration = 6;  ///< R: one of so many positions is measured
    /// Columns in the centre, or side of the square there, all measured. -1: about three eighths of what is measured, 2 ceil(3 n /
    /// (16 R)) columns, as the method's experiments have it.
    index_t centre = -1;
    bool full_size = false;  ///< height x width numbers rather than one for each column
    /// Poisson disks: the radius grows as 1 + falloff rho, rho the distance from the centre, 1 at the edge.
    double falloff = 0;
};

namespace detail {

/// The positions of a mask: the columns, one row of them, or all frequencies.
class mask_grid {
public:
    mask_grid(index_t height, index_t width, const mask_options& o) : rows_(o.full_size ? height : 1), width_(width) {
        const std::string r = std::to_string(o.acceleration);
        check_value(
            "make_mask", height >= 1 && width >= 1,
            "k-space is " + std::to_string(height) + " x " + std::to_string(width) + ", expected at least 1 x 1");
        check_value("make_mask", o.acceleration >= 1 && std::isfinite(o.acceleration),
                    "acceleration is " + r + ", expected a finite number >= 1");
        check_value("make_mask", o.falloff >= 0 && std::isfinite(o.falloff),
                    "falloff is " + std::to_string(o.falloff) + ", expected a finite number >= 0");
        check_value("make_mask", o.kind != mask_kind::equispaced || !o.full_size,
                    "equispaced masks are of columns, full_size is set");
        check_value("make_mask", o.centre >= -1, "centre is " + std::to_string(o.centre) + ", expected >= 0, or -1");
        const auto n = static_cast<double>(count());
        const double share = 3 * n / (8 * o.acceleration);  // of the centre, before it is rounded to whole columns
        centre_ = o.centre;
        if (centre_ < 0) {
            const double side = o.full_size ? std::sqrt(share) : share;
            centre_ = std::min({2 * static_cast<index_t>(std::ceil(side / 2)), width_, o.full_size ? rows_ : width_});
        }
        check_value("make_mask", centre_ <= width_ && (!o.full_size || centre_ <= rows_),
                    "centre is " + std::to_string(centre_) + ", larger than the k-space of " + std::to_string(height) +
                        " x " + std::to_string(width));
        inside_ = o.full_size ? centre_ * centre_ : centre_;
        wanted_ = static_cast<index_t>(std::llround(n / o.acceleration));
        if (o.centre >= 0) {
            check_value("make_mask", inside_ <= wanted_,
                        "the centre holds " + std::to_string(inside_) + " positions, acceleration " + r + " leaves " +
                            std::to_string(wanted_) + " of " + std::to_string(count()));
        }
        wanted_ = std::max(wanted_, inside_);
        const double exact = o.centre < 0 ? share : static_cast<double>(inside_);
        probability_ = n > exact ? (n / o.acceleration - exact) / (n - exact) : 1;
        const auto from = [](index_t size, index_t side) { return size / 2 - side / 2; };
        for (index_t j = 0; j < count(); ++j) {
            const index_t y = j / width_ - from(rows_, centre_), x = j % width_ - from(width_, centre_);
            const bool held = x >= 0 && x < centre_ && (!o.full_size || (y >= 0 && y < centre_));
            (held ? centre_positions_ : outside_).push_back(j);
        }
    }

    [[nodiscard]] index_t count() const { return rows_ * width_; }
    [[nodiscard]] index_t rows() const { return rows_; }
    [[nodiscard]] index_t width() const { return width_; }
    /// Positions in the centre, and the others, ascending.
    [[nodiscard]] const std::vector<index_t>& centre() const { return centre_positions_; }
    [[nodiscard]] const std::vector<index_t>& outside() const { return outside_; }
    /// How many of the others are to be measured, and the probability of each that makes as many in expectation.
    [[nodiscard]] index_t wanted() const { return wanted_ - inside_; }
    [[nodiscard]] double probability() const { return probability_; }
    /// Distance of a position from the centre, 1 at the edges.
    [[nodiscard]] double distance(index_t j) const {
        const auto along = [](index_t k, index_t n) {
            return n > 1 ? 2 * static_cast<double>(k - n / 2) / static_cast<double>(n) : 0.0;
        };
        return std::hypot(along(j / width_, rows_), along(j % width_, width_));
    }

private:
    index_t rows_, width_, centre_ = 0, inside_ = 0, wanted_ = 0;
    double probability_ = 0;
    std::vector<index_t> centre_positions_, outside_;
};

/// The positions outside the centre in the random order of item `item`.
inline std::vector<index_t> shuffled(const mask_grid& grid, const random_key& key, std::uint32_t item) {
    std::vector<std::uint32_t> words(static_cast<std::size_t>(grid.count()));
    for (const index_t j : grid.outside())
        words[static_cast<std::size_t>(j)] = random_words(key, item, static_cast<std::uint32_t>(j / 4)).word[j % 4];
    std::vector<index_t> order = grid.outside();
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) {
        return words[static_cast<std::size_t>(a)] < words[static_cast<std::size_t>(b)];
    });
    return order;
}

/// Those of `order`, one after the other, that are not within radius (1 + falloff rho) of one taken before.
inline std::vector<index_t> disks(const mask_grid& grid, const std::vector<index_t>& order, double radius,
                                  double falloff) {
    std::vector<char> taken(static_cast<std::size_t>(grid.count()), 0);
    std::vector<index_t> chosen;
    for (const index_t j : order) {
        const double r = radius * (1 + falloff * grid.distance(j));
        const index_t reach = static_cast<index_t>(std::ceil(r)), y = j / grid.width(), x = j % grid.width();
        const auto free = [&] {
            for (index_t v = std::max<index_t>(0, y - reach); v <= std::min(grid.rows() - 1, y + reach); ++v)
                for (index_t u = std::max<index_t>(0, x - reach); u <= std::min(grid.width() - 1, x + reach); ++u) {
                    if (taken[static_cast<std::size_t>(v * grid.width() + u)] == 0) continue;
                    const auto far = static_cast<double>((v - y) * (v - y) + (u - x) * (u - x));
                    if (far < r * r) return false;
                }
            return true;
        };
        if (!free()) continue;
        taken[static_cast<std::size_t>(j)] = 1;
        chosen.push_back(j);
    }
    return chosen;
}

/// The positions that item `item` measures outside the centre.
inline std::vector<index_t> draw_positions(const mask_grid& grid, const mask_options& o, const random_key& key,
                                           std::uint32_t item) {
    const auto wanted = static_cast<std::size_t>(grid.wanted());
    std::vector<index_t> chosen;
    switch (o.kind) {
        case mask_kind::bernoulli:
            for (const index_t j : grid.outside())
                if (bernoulli(key, item, static_cast<std::uint32_t>(j), grid.probability())) chosen.push_back(j);
            break;
        case mask_kind::equispaced: {
            const double start = uniform<double>(key, item, 0), from = static_cast<double>(grid.outside().size());
            for (std::size_t k = 0; k < wanted; ++k) {
                const double at = (static_cast<double>(k) + start) * from / static_cast<double>(wanted);
                // Rounding may reach the end.
                chosen.push_back(grid.outside()[std::min(static_cast<std::size_t>(at), grid.outside().size() - 1)]);
            }
            break;
        }
        case mask_kind::random:
            chosen = shuffled(grid, key, item);
            chosen.resize(wanted);
            break;
        case mask_kind::poisson_disk: {
            const auto order = shuffled(grid, key, item);
            double low = 0, high = static_cast<double>(std::max(grid.rows(), grid.width()));
            chosen = order;
            for (int k = 0; k < 20; ++k) {
                const double radius = (low + high) / 2;
                auto found = disks(grid, order, radius, o.falloff);
                if (found.size() < wanted) {
                    high = radius;
                } else {
                    low = radius;
                    chosen = std::move(found);
                    if (chosen.size() == wanted) break;
                }
            }
            chosen.resize(wanted);  // of the largest radius that has room for as many: the last ones too many
            break;
        }
    }
    return chosen;
}

}  // namespace detail

/// Masks of `items` slices (1: the same for all): 1 where k-space is measured, else 0; width numbers an item, or height x width.
/// Item i is a function of the key and i alone, the same on every backend. For linop::mri and linop::sense.
///
/// With the options as they are, the masks of the method's experiment with knees: 2 ceil(60 / R) of 320 columns in the centre, each
/// other one with probability 200 / (320 R - 120).
/// Throws value_error where an option is out of range, or the centre alone is more than is to be measured.
template <Backend B>
[[nodiscard]] batch<B> make_mask(B& b, const random_key& key, index_t height, index_t width,
                                 const mask_options& options, index_t items = 1) {
    const detail::mask_grid grid(height, width, options);
    check_value("make_mask", items >= 0, "the number of items is negative");
    std::vector<scalar_t<B>> values(
        static_cast<std::size_t>(checked_product("make_mask", "positions x items", grid.count(), items)));
    for (index_t i = 0; i < items; ++i) {
        const auto mark = [&](const std::vector<index_t>& positions) {
            for (const index_t j : positions) values[static_cast<std::size_t>(i * grid.count() + j)] = 1;
        };
        mark(grid.centre());
        mark(detail::draw_positions(grid, options, key, static_cast<std::uint32_t>(i)));
    }
    return to_backend(b, values, grid.count(), items);
}

}  // namespace diem::mri
