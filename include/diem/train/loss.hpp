// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/parallel/tree_sum.hpp>
#include <diem/train/concept.hpp>

/// \file
/// The denoising loss and its gradient.
/// \snippet tests/examples/train.cpp train/loss.hpp

namespace diem::train {

/// sigma_t = sigma_min^(1 - t) sigma_max^t, t ~ Beta(3, 3).
struct loss_options {
    /// Standard deviations, in data units; empty: 1e-3 and 1e2, and in EM those of the sampler.
    std::optional<double> sigma_min{}, sigma_max{};
    index_t micro_batch = 0;  ///< items that go through the model at once; 0: the whole batch
    double dropout = 0;       ///< rate, where the model has dropout

    [[nodiscard]] double lowest() const { return sigma_min.value_or(1e-3); }
    [[nodiscard]] double highest() const { return sigma_max.value_or(1e2); }
};

/// Throws value_error for noise levels or sizes outside their range.
inline void check_loss(const loss_options& o) {
    check_positive("train::loss_options", "sigma_min", o.lowest());
    check_positive("train::loss_options", "sigma_max", o.highest());
    check_value("train::loss_options", o.highest() > o.lowest(), "sigma_max must be more than sigma_min");
    check_value("train::loss_options", o.micro_batch >= 0, "micro_batch must be >= 0");
    check_value("train::loss_options", o.dropout >= 0 && o.dropout < 1, "dropout must lie in [0, 1)");
}

namespace detail {

template <class T>
struct training_sigma {
    random_key key;
    double log_min, log_ratio;
    DIEM_HOST_DEVICE void operator()(index_t i, T* sigma) const {
        using std::exp;
        const auto t = static_cast<double>(beta33<T>(key, static_cast<std::uint32_t>(i), 0));
        sigma[i] = static_cast<T>(exp(log_min + log_ratio * t));
    }
};

/// z becomes x_t = x + sigma z.
struct add_noise {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& z, const V& x, const V& sigma) const {
        z = x + sigma * z;
    }
};

/// w = 1 / sigma^2 + 1 / d^2, d = sigma_data: loss_i = w / D |e|^2 and the factor 2 w / (n D) that makes e its cotangent.
template <class T>
struct weigh_error {
    double features, items, sigma_data;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* sigma, double* squared_error, T* factor) const {
        const auto s = static_cast<double>(sigma[i]);
        const double w = 1 / (s * s) + 1 / (sigma_data * sigma_data);
        squared_error[i] *= w / features;
        factor[i] = static_cast<T>(2 * w / (features * items));
    }
};

/// The standard deviation of data that a model's preconditioning is for; 1 where it says nothing.
template <class M>
[[nodiscard]] double sigma_data_of(const M& model) {
    if constexpr (requires { model.options().sigma_data; })
        return model.options().sigma_data;
    else
        return 1;
}

struct mean_of {
    index_t count;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t, const Team& team, const double* values, double* mean) const {
        double sum = 0;
        for (index_t i = team.first(); i < count; i += team.step()) sum += values[i];
        sum = team.sum(sum);
        if (team.first() == 0) mean[0] = sum / static_cast<double>(count);
    }
};

}  // namespace detail

/// The part of the loss that items x (D x n) with noise levels `sigma` (n) contribute to the mean over `total` items:
///     item_loss_i = (1 / sigma^2 + 1 / sigma_data^2) / D |d(x_t) - x|^2,  grad = (or +=) d/d weights of sum_i item_loss_i / total.
/// `x_t` (D x n) holds x + sigma z and is overwritten.
template <Backend B, TrainableModel<B> M>
void denoising_loss_at(B& b, M& model, const_view_t<B> x, view_t<B> x_t, const_vector_t<B> sigma, index_t total,
                       const model::training& mode, nn::update update, vector_t<B> grad,
                       vector_t<B, double> item_loss) {
    using T = scalar_t<B>;
    const index_t n = x.items(), features = x.features();
    check_shape("train::denoising_loss", "x", x, model.features(), n);
    check_shape("train::denoising_loss", "x_t", x_t, features, n);
    check_size("train::denoising_loss", "sigma", sigma.size(), n);
    check_size("train::denoising_loss", "item_loss", item_loss.size(), n);
    check_size("train::denoising_loss", "grad", grad.size(), std::as_const(model).parameters().size());
    batch<B> factor(b, n, 1);
    const auto linearization = model.linearize(b, x_t, diffusion::noise_level<B>(sigma), mode);
    b.map(functors::difference{}, x_t, const_view_t<B>(linearization.mean()), x);
    b.dot(x_t, x_t, item_loss);
    b.launch(
        n, 16,
        detail::weigh_error<T>{static_cast<double>(features), static_cast<double>(total), detail::sigma_data_of(model)},
        sigma.data(), item_loss.data(), factor.view().data());
    b.map(functors::multiply{}, x_t, per_item{const_vector_t<B>(factor.flat())});
    linearization.vjp_params(b, x_t, grad, update);
}

/// The part of `denoising_loss` of items first .. first + count - 1 of a batch of `items`: their contribution to the gradient
/// (overwritten), and `item_loss` (count).
template <Backend B, TrainableModel<B> M, class Draw>
void denoising_loss_part(B& b, M& model, Draw&& draw, index_t items, index_t begin, index_t count,
                         const random_key& key, const loss_options& options, vector_t<B> grad,
                         vector_t<B, double> item_loss) {
    using T = scalar_t<B>;
    const index_t micro = options.micro_batch > 0 ? std::min(options.micro_batch, count) : count;
    const double log_min = std::log(options.lowest());
    batch<B> x(b, model.features(), micro), x_t(b, model.features(), micro), sigma(b, micro, 1);
    for (index_t first = begin; first < begin + count; first += micro) {
        const index_t n = std::min(micro, begin + count - first);
        const auto part = key.skip_items(static_cast<std::uint32_t>(first));
        const auto x_part = x.view().item_range(0, n), z = x_t.view().item_range(0, n);
        const auto sigma_part = sigma.flat().range(0, n);
        draw(first, x_part);
        b.launch(n, 256,
                 detail::training_sigma<T>{part.with_lane(random_lane::training_time), log_min,
                                           std::log(options.highest()) - log_min},
                 sigma_part.data());
        b.fill_normal(part.with_lane(random_lane::training_noise), z);
        b.map(detail::add_noise{}, z, const_view_t<B>(x_part), per_item{const_vector_t<B>(sigma_part)});
        denoising_loss_at<B>(b, model, x_part, z, sigma_part, items,
                             model::training{options.dropout, part.with_lane(random_lane::dropout)},
                             first == begin ? nn::update::overwrite : nn::update::accumulate, grad,
                             item_loss.range(first - begin, n));
    }
}

/// mean_i (1 / sigma_i^2 + 1 / sigma_data^2) mean_j (d(x + sigma z, sigma) - x)_ij^2 over `items` training items, with t and z drawn by
/// `key` (its step; lanes are set here): `loss` (one element) and its gradient by the weights (overwritten).
///
/// `draw(first, part)` fills the view `part` with items first .. first + part.items() - 1 of the batch. The batch goes
/// through the model in micro-batches; their size changes the gradient only by rounding, and the loss not at all where the
/// model treats items alike.
template <Backend B, TrainableModel<B> M, class Draw>
void denoising_loss(B& b, M& model, Draw&& draw, index_t items, const random_key& key, const loss_options& options,
                    vector_t<B> grad, vector_t<B, double> loss) {
    check_loss(options);
    check_value("train::denoising_loss", items > 0, "the batch is empty");
    check_size("train::denoising_loss", "loss", loss.size(), 1);
    batch<B, double> item_loss(b, items, 1);
    denoising_loss_part<B>(b, model, draw, items, 0, items, key, options, grad, item_loss.flat());
    launch_rows(b, 1, items, items, detail::mean_of{items}, item_loss.cview().data(), loss.data());
}

/// The same as the sum of the gradients of `parts` parts of the batch, as equal as they can be, in an order that `parts` alone fixes:
/// the ranks share them, and loss and gradient are the same on all, and to the bit for every number of ranks. One part is
/// `denoising_loss`.
template <Backend B, TrainableModel<B> M, class Draw, parallel::Communicator C>
void denoising_loss(B& b, M& model, Draw&& draw, index_t items, const random_key& key, const loss_options& options,
                    vector_t<B> grad, vector_t<B, double> loss, index_t parts, const C& ranks) {
    check_value("train::denoising_loss", parts > 0 && parts <= items, "parts must be >= 1, and at most the items");
    if (parts == 1 && ranks.size() == 1) return denoising_loss<B>(b, model, draw, items, key, options, grad, loss);
    check_loss(options);
    constexpr const char* what = "gradients of the M-step";
    const auto begin = [&](index_t part) { return items * part / parts; };
    const auto begin_of = [&](int rank) { return begin(parallel::first_of(parts, rank, ranks.size())); };
    const index_t own = parallel::first_of(parts, ranks.rank(), ranks.size()),
                  end = parallel::first_of(parts, ranks.rank() + 1, ranks.size());
    batch<B, double> item_loss(b, 1, items);
    parallel::tree_sum<batch<B>> sum;
    for (index_t part = own; part < end; ++part) {
        batch<B> gradient(b, grad.size(), 1);
        const index_t from = begin(part), count = begin(part + 1) - from;
        denoising_loss_part<B>(b, model, draw, items, from, count, key, options, gradient.flat(),
                               item_loss.flat().range(from, count));
        sum.push({part, 0, std::move(gradient)},
                 [&](batch<B>& l, batch<B>& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); });
    }
    parallel::all_reduce(ranks, b, sum, parts, grad, what);
    std::vector<index_t> counts;
    for (int r = 0; r < ranks.size(); ++r) counts.push_back(begin_of(r + 1) - begin_of(r));
    parallel::all_gather_items(ranks, b, item_loss.view(), counts, what);
    launch_rows(b, 1, items, items, detail::mean_of{items}, item_loss.cview().data(), loss.data());
}

}  // namespace diem::train
