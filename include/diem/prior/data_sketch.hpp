// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/io/content_hash.hpp>
#include <diem/io/json.hpp>

/// \file
/// Internal: what tells one set of observations from another when a run is resumed, wherever its files lie.

namespace diem::prior::detail {

/// Of a linear map F, one per item: the products z' F x with random x and four random z, summed over the items, and the norm
/// of F x. No access to the numbers of F is needed, so that it works for operators of the user's; one changed entry among
/// ten million changes the products by more than rounding does.
class sketch {
public:
    template <Backend B>
    void add(B& b, const_view_t<B> image, const random_key& key) {
        batch<B> z(b, image.features(), image.items());
        batch<B, double> product(b, image.items(), 1);
        const auto sum = [&](const_view_t<B> with) {
            b.dot(image, with, product.flat());
            double total = 0;
            for (const double v : to_host(b, product)) total += v;
            return total;
        };
        for (std::uint32_t k = 0; k < products_.size(); ++k) {
            b.fill_normal(key.with_lane(random_lane::user + 10 + k), z.view());
            products_[k] += sum(z.cview());
        }
        squares_ += sum(image);
    }
    [[nodiscard]] io::json json() const { return {{"products", products_}, {"norm", std::sqrt(squares_)}}; }

private:
    std::array<double, 4> products_{};
    double squares_ = 0;
};

/// Whether two sketches are equal but for rounding; false where they are none.
[[nodiscard]] inline bool is_same_sketch(const io::json& a, const io::json& b) {
    try {
        const double norm = b.at("norm").get<double>();
        if (!(std::abs(a.at("norm").get<double>() - norm) <= 1e-5 * norm)) return false;
        const auto p = a.at("products").get<std::array<double, 4>>(), q = b.at("products").get<std::array<double, 4>>();
        for (std::size_t k = 0; k < p.size(); ++k)
            if (!(std::abs(p[k] - q[k]) <= 1e-5 * norm)) return false;
        return true;
    } catch (const io::json::exception&) {
        return false;
    }
}

/// {"observations", "features", "y", "operator", "sigma_y"}: sizes, a hash of y, sketches of A and Sigma_y.
template <Backend B, class Observation>
[[nodiscard]] io::json describe_data(B& b, const Observation& observed) {
    const auto& a = observed.forward_operator();
    const index_t n = observed.items(), rows = observed.y().features();
    io::content_hash y;
    sketch of_a, of_noise;
    for (index_t first = 0; first < n; first += 256) {
        const index_t count = std::min<index_t>(256, n - first);
        const auto part = observed.items(first, count);
        const random_key key = random_key{.seed = 0x64696d}.skip_items(static_cast<std::uint32_t>(first));
        y.values(std::span<const scalar_t<B>>(to_host(b, part.y())));
        batch<B> x(b, a.cols(), count), w(b, rows, count), image(b, rows, count);
        b.fill_normal(key.with_lane(random_lane::user), x.view());
        part.forward_operator().apply(b, x.cview(), image.view());
        of_a.add(b, image.cview(), key);
        b.fill_normal(key.with_lane(random_lane::user + 1), w.view());
        part.noise().apply(b, w.cview(), image.view());
        of_noise.add(b, image.cview(), key);
    }
    return {{"observations", n},
            {"features", a.cols()},
            {"y", y.hex()},
            {"operator", of_a.json()},
            {"sigma_y", of_noise.json()}};
}

}  // namespace diem::prior::detail
