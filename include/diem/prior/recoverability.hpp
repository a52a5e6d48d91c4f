// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// What the operators of all observations together show of x, before anything is learned: where they show nothing, a learned
/// prior is a guess. The average H = 1/N sum A_i'A_i tells: of a value, by its diagonal, of a direction u, by u'H u.
/// \snippet tests/examples/prior.cpp prior/recoverability.hpp

namespace diem::prior {

struct recoverability_options {
    double seldom = 0.01;  ///< below this share of the greatest a value or direction counts as seldom seen
    double never = 1e-5;   ///< the same for directions that count as never seen: what float32 products leave of zero
    index_t items = 64;  ///< observations, spread over all, from which directions are judged, more below 4096 features
    index_t steps =
        24;  ///< Lanczos steps for these; 0: directions are not judged. Small problems take as many as needed
    index_t block = 256;  ///< observations at once
    std::uint64_t seed = 0;
};

struct recoverability {
    index_t observations = 0, features = 0;
    index_t judged = 0;        ///< observations from which directions were judged
    index_t unseen_items = 0;  ///< observations whose operator shows nothing
    /// Diagonal of H, D numbers: of masks, the share of observations that show a value. An image, where x is one.
    std::vector<double> seen{};
    double unseen_values = 0, seldom_values = 0;  ///< shares of the D values; seldom includes never
    bool directions_known = false;
    double unseen_directions = 0, seldom_directions = 0;  ///< shares of the D eigenvectors of H
    /// Eigenvalues of H, of the observations judged, with the share of directions that each stands for, ascending; exact for
    /// element-wise operators and for at most `small` features.
    std::vector<std::pair<double, double>> spectrum{};
    static constexpr index_t small = 64;

    /// The variance, in the data's scale, of the N(0, s^2 I) where Gaussian EM should start: a direction that is never seen keeps it.
    /// 0.1 where all observations together show some directions seldom or never, as those that operators hide (the finest
    /// differences, high frequencies) rarely hold much of x; else 1.
    [[nodiscard]] double start_variance() const { return seldom_directions > 0 && judged >= observations ? 0.1 : 1; }
    /// Whether something was never seen.
    [[nodiscard]] bool has_unseen() const { return unseen_values > 0 || unseen_directions > 0; }
    /// One line for people.
    [[nodiscard]] std::string words() const {
        const auto percent = [](double share) {
            char text[32];
            std::snprintf(text, sizeof text, "%.3g %%", 100 * share);
            return std::string(text);
        };
        std::string text;
        const auto say = [&](double unseen, double seldom, const char* what, const std::string& never) {
            if (unseen > 0)
                text += (text.empty() ? "" : "; ") + percent(unseen) + " of the " + what + " of x were " + never;
            if (seldom > unseen)
                text += (text.empty() ? "" : "; ") + percent(seldom - unseen) + " of the " + what + " were seldom seen";
        };
        const std::string never = "never seen: the prior is a guess there";
        say(unseen_values, seldom_values, "values", never);
        // Where a value is never seen, so is its direction: directions are told of where there are more.
        const double more = 1.0 / static_cast<double>(std::max<index_t>(1, features));
        if (unseen_directions > unseen_values + more / 2 || seldom_directions > seldom_values + more / 2)
            say(unseen_directions, seldom_directions, "directions",
                judged < observations
                    ? "not seen by the " + std::to_string(judged) + " observations that were looked at for them"
                    : never);
        return text.empty() ? "every value and direction of x was seen" : text;
    }
};

namespace detail {

struct to_sign {
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* z) const {
        z[i] = z[i] < T(0) ? T(-1) : T(1);
    }
};

/// z = +-1.
template <Backend B>
void fill_signs(B& b, const random_key& key, batch<B>& z) {
    b.fill_normal(key, z.view());
    b.launch(z.features() * z.items(), 1, to_sign{}, z.view().data());
}

/// diag H by E[(A'z)_j^2] = |A e_j|^2, z = +-1: never negative, zero where it is, and exact where every value of x reaches one
/// row at most. A value that reaches several rows with equal weights may come out as zero by chance, of one observation, not of
/// many. One product with A' an observation.
template <Backend B, class A>
void see_values(B& b, const A& a, index_t observations, const recoverability_options& o, recoverability& r) {
    const bool shared = a.items() < 0;
    const index_t n = shared ? std::max<index_t>(o.items, 64) : observations;
    r.seen.assign(static_cast<std::size_t>(a.cols()), 0.0);
    for (index_t first = 0; first < n; first += o.block) {
        const index_t count = std::min(o.block, n - first);
        batch<B> z(b, a.rows(), count), x(b, a.cols(), count), ones(b, count, 1), sum(b, a.cols(), 1);
        const random_key key = random_key{.seed = o.seed ^ 0x7365656eU, .lane = random_lane::user};
        fill_signs(b, key.skip_items(static_cast<std::uint32_t>(first)), z);
        a.items(first, count).apply_adjoint(b, z.cview(), x.view());
        batch<B, double> squares(b, count, 1);
        b.dot(x.cview(), x.cview(), squares.flat());
        for (const double s : to_host(b, squares)) r.unseen_items += s == 0 ? 1 : 0;
        b.map(functors::multiply{}, x.view(), x.cview());
        b.fill(ones.view(), scalar_t<B>(1));
        b.gemm(scalar_t<B>(1), x.cview(), op::none, ones.cview(), op::none, scalar_t<B>(0), sum.view());
        const auto part = to_host(b, sum);
        for (std::size_t j = 0; j < part.size(); ++j)
            r.seen[j] += static_cast<double>(part[j]) / static_cast<double>(n);
    }
    if (shared) r.unseen_items = r.unseen_items == n ? observations : 0;
}

/// w = H v, with the observations of some blocks for all.
template <Backend B, class A>
class average_product {
public:
    average_product(const A& a, index_t observations, const recoverability_options& o) : a_(a) {
        const index_t most =
            o.items * std::max<index_t>(1, 4096 / std::max<index_t>(1, a.cols()));  // about as many numbers
        if (a.items() < 0 || observations <= most) {
            const index_t n = a.items() < 0 ? 1 : observations;
            for (index_t first = 0; first < n; first += o.block)
                blocks_.push_back({first, std::min(o.block, n - first)});
            total_ = n;
            return;
        }
        const index_t parts = std::min<index_t>(8, most), count = std::min(o.block, most / parts);
        for (index_t k = 0; k < parts; ++k)
            blocks_.push_back({(observations - count) * k / std::max<index_t>(1, parts - 1), count});
        total_ = parts * count;
    }
    void operator()(B& b, const_vector_t<B> v, view_t<B> w) const {
        using T = scalar_t<B>;
        b.fill(w, T(0));
        for (const auto& [first, count] : blocks_) {
            const auto part = a_.items(first, count);
            batch<B> x(b, a_.cols(), count), y(b, a_.rows(), count), ones(b, count, 1);
            b.map(functors::assign{}, x.view(), per_feature{v});
            part.apply(b, x.cview(), y.view());
            part.apply_adjoint(b, y.cview(), x.view());
            b.fill(ones.view(), T(1));
            b.gemm(T(1) / static_cast<T>(total_), x.cview(), op::none, ones.cview(), op::none, T(1), w);
        }
    }

    /// Observations that are averaged.
    [[nodiscard]] index_t judged() const { return total_; }

private:
    const A& a_;
    std::vector<std::pair<index_t, index_t>> blocks_;
    index_t total_ = 1;
};

/// Eigenvalues of the tridiagonal matrix of `alpha`, `beta` with the squares of their vectors' first entries: a Gauss rule.
template <Backend B>
[[nodiscard]] std::vector<std::pair<double, double>> gauss_rule(B& b, const std::vector<double>& alpha,
                                                                const std::vector<double>& beta) {
    const auto k = alpha.size();
    std::vector<double> matrix(k * k, 0.0);
    for (std::size_t i = 0; i < k; ++i) {
        matrix[i * k + i] = alpha[i];
        if (i + 1 < k) matrix[i * k + i + 1] = beta[i];
    }
    auto t = to_backend(b, matrix, static_cast<index_t>(k), static_cast<index_t>(k));
    batch<B, double> w(b, static_cast<index_t>(k), 1);
    b.eigh(t.view(), w.flat());
    const auto vectors = to_host(b, t), values = to_host(b, w);
    std::vector<std::pair<double, double>> rule;
    for (std::size_t i = 0; i < k; ++i) rule.emplace_back(values[i], vectors[i * k] * vectors[i * k]);
    return rule;
}

/// The same by Lanczos from q, of unit norm: how q is spread over the eigenvectors of H. Each new vector is made orthogonal to
/// all before, twice.
template <Backend B, class Product>
[[nodiscard]] std::vector<std::pair<double, double>> lanczos(B& b, const Product& product, batch<B> q, index_t steps) {
    using T = scalar_t<B>;
    const index_t d = q.features();
    batch<B> basis(b, d, steps), w(b, d, 1);
    std::vector<double> alpha, beta;
    double greatest = 0;
    for (index_t k = 0; k < steps; ++k) {
        b.copy(q.cview(), basis.view().item_range(k, 1));
        product(b, const_vector_t<B>(q.flat()), w.view());
        const auto before = basis.cview().item_range(0, k + 1);
        batch<B> h(b, k + 1, 1);
        alpha.push_back(0);
        for (int turn = 0; turn < 2; ++turn) {
            b.gemm(T(1), before, op::transpose, w.cview(), op::none, T(0), h.view());
            b.gemm(T(-1), before, op::none, h.cview(), op::none, T(1), w.view());
            alpha.back() += static_cast<double>(to_host(b, h).back());
        }
        batch<B, double> square(b, 1, 1);
        b.dot(w.cview(), w.cview(), square.flat());
        const double norm = std::sqrt(to_host(b, square).front());
        greatest = std::max({greatest, std::abs(alpha.back()), norm});
        if (k + 1 == steps || !(norm > 32 * static_cast<double>(std::numeric_limits<T>::epsilon()) * greatest)) break;
        beta.push_back(norm);
        b.axpby(1 / norm, w.cview(), 0.0, q.view());
    }
    return gauss_rule(b, alpha, beta);
}

/// The eigenvalues of H, each of as many directions as the others.
template <Backend B, class Product>
[[nodiscard]] std::vector<std::pair<double, double>> eigenvalues(B& b, const Product& product, index_t d) {
    using T = scalar_t<B>;
    std::vector<T> unit(static_cast<std::size_t>(d * d), T(0));
    for (index_t k = 0; k < d; ++k) unit[static_cast<std::size_t>(k * d + k)] = T(1);
    const auto e = to_backend(b, unit, d, d);
    batch<B> h(b, d, d), w(b, d, 1);
    for (index_t k = 0; k < d; ++k)
        product(b, const_vector_t<B>(e.view().data() + k * d, d), h.view().item_range(k, 1));
    b.eigh(h.view(), w.flat());
    std::vector<std::pair<double, double>> all;
    for (const T value : to_host(b, w)) all.emplace_back(static_cast<double>(value), 1 / static_cast<double>(d));
    return all;
}

/// The spectrum of H: H itself where it is small, else from a few random vectors (stochastic Lanczos quadrature: Ubaru, Chen,
/// Saad, SIAM J. Matrix Anal. Appl. 38, 2017).
template <Backend B, class Product>
[[nodiscard]] std::vector<std::pair<double, double>> spectrum_of(B& b, const Product& product, index_t d,
                                                                 const recoverability_options& o) {
    if (d <= recoverability::small) return eigenvalues(b, product, d);
    const index_t probes = std::clamp<index_t>(4096 / d, 1, 16), steps = std::min(d, o.steps);
    std::vector<std::pair<double, double>> all;
    batch<B> z(b, d, probes);
    fill_signs(b, {.seed = o.seed ^ 0x646972U, .lane = random_lane::user}, z);
    for (index_t k = 0; k < probes; ++k) {
        batch<B> q(b, d, 1);
        b.axpby(1 / std::sqrt(static_cast<double>(d)), z.cview().item_range(k, 1), 0.0, q.view());
        for (const auto& [value, weight] : lanczos(b, product, std::move(q), steps))
            all.emplace_back(value, weight / static_cast<double>(probes));
    }
    std::sort(all.begin(), all.end());
    return all;
}

}  // namespace detail

/// What the operator A of `observations` observations shows of x. Throws value_error (options, no observations).
template <Backend B, linop::LinearOperator<B> A>
[[nodiscard]] recoverability recoverability_of(B& b, const A& a, index_t observations,
                                               const recoverability_options& o = {}) {
    constexpr const char* where = "prior::recoverability_of";
    check_value(where, observations > 0, "there are no observations");
    check_value(where, o.items > 0 && o.block > 0 && o.steps >= 0, "items and block must be > 0, steps >= 0");
    if (a.items() >= 0) check_size(where, "A.items()", a.items(), observations);
    recoverability r{.observations = observations, .features = a.cols(), .judged = observations};
    detail::see_values(b, a, observations, o, r);
    const double most = r.seen.empty() ? 0 : *std::max_element(r.seen.begin(), r.seen.end());
    const double each = r.seen.empty() ? 0 : 1 / static_cast<double>(r.seen.size());
    for (const double v : r.seen) {
        r.unseen_values += !(v > 1e-10 * most) ? each : 0;  // squares: rounding is far below
        r.seldom_values += !(v > 1e-10 * most && v >= o.seldom * most) ? each : 0;
    }
    if constexpr (linop::ElementwiseOperator<A>) {
        for (const double v : r.seen) r.spectrum.emplace_back(v, each);
        std::sort(r.spectrum.begin(), r.spectrum.end());
        r.directions_known = true;
        r.unseen_directions = r.unseen_values;
        r.seldom_directions = r.seldom_values;
    } else if (o.steps > 0 && most > 0) {
        const detail::average_product<B, A> product(a, observations, o);
        r.spectrum = detail::spectrum_of(b, product, a.cols(), o);
        r.directions_known = true;
        if (a.items() >= 0) r.judged = product.judged();
        for (const auto& [value, share] : r.spectrum) {
            r.unseen_directions += value > o.never * r.spectrum.back().first ? 0 : share;
            r.seldom_directions += value >= o.seldom * r.spectrum.back().first ? 0 : share;
        }
    }
    return r;
}

}  // namespace diem::prior
