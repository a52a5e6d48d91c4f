// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/gaussian_checkpoint.hpp>

namespace diem::prior {

/// A learned prior as a value: what a lap of diffusion EM takes and gives.
template <Backend B>
struct diffusion_prior {
    batch<B> weights;  ///< where the next M-step begins; flat
    batch<B> average;  ///< moving average: the weights to sample with
    batch<B> mean;     ///< D x 1, of the data: where samplers start
    std::optional<diffusion::gaussian<B>>
        estimate;                                ///< Gaussian estimate of the data, for the covariances that need one
    std::optional<diffusion::gaussian<B>> skip;  ///< whose denoiser the network adds to, see `model::preconditioned`
    sample_moments<B> moments;                   ///< of the last lap's samples
    std::vector<lap_diagnostics> history;        ///< one entry per lap behind it
    index_t laps = 0;                            ///< M-steps behind it; 0: untrained weights

    [[nodiscard]] diffusion_prior clone(B& b) const {
        const auto copy = [&](const batch<B>& from) {
            batch<B> to(b, from.features(), from.items());
            b.copy(from.view(), to.view());
            return to;
        };
        return {copy(weights), copy(average), copy(mean), estimate, skip, {copy(moments.mean), copy(moments.deviation)},
                history,       laps};
    }
};

/// The untrained prior: the model's present weights, and the mean of the estimate (zero where there is none).
template <Backend B, train::TrainableModel<B> M>
[[nodiscard]] diffusion_prior<B> untrained_prior(B& b, const M& model,
                                                 std::optional<diffusion::gaussian<B>> estimate = std::nullopt) {
    const const_vector_t<B> weights = model.parameters();
    diffusion_prior<B> p;
    p.weights = batch<B>(b, weights.size(), 1);
    p.average = batch<B>(b, weights.size(), 1);
    p.mean = batch<B>(b, model.features(), 1);
    b.copy(as_batch(weights), p.weights.view());
    b.copy(as_batch(weights), p.average.view());
    if (estimate)
        b.copy(as_batch(estimate->mu()), p.mean.view());
    else
        b.fill(p.mean.view(), 0);
    p.estimate = std::move(estimate);
    return p;
}

/// Gives the model the prior's skip connection. Throws value_error where there is one and the model takes none.
template <Backend B, train::TrainableModel<B> M>
void set_skip(B& b, const diffusion_prior<B>& prior, M& model) {
    if constexpr (requires { model.set_skip(b, prior.skip); })
        model.set_skip(b, prior.skip);
    else
        check_value("prior::set_skip", !prior.skip, "this model takes no Gaussian skip connection");
}

/// Puts the averaged weights and the skip connection into the model, which is then the prior's score model.
template <Backend B, train::TrainableModel<B> M>
void load_into(B& b, const diffusion_prior<B>& prior, M& model) {
    set_skip(b, prior, model);
    b.copy(prior.average.view(), as_batch(vector_t<B>(model.mutable_parameters())));
}

/// Adds a prior to a file: last/NAME, average/NAME, mean, estimate/{mu,d,u}, skip/{mu,d,u}, moments/{mean,deviation}; what the state
/// has to say about them comes from `prior_state`.
template <Backend B>
void put_prior(B& b, checkpoint_writer<B>& out, const nn::parameter_table& table, const diffusion_prior<B>& p) {
    out.flat(b, "last/", table, p.weights.flat());
    out.flat(b, "average/", table, p.average.flat());
    out.batch_as(b, "mean", p.mean.view());
    if (p.estimate) put_gaussian(b, out, *p.estimate);
    if (p.skip) put_gaussian(b, out, *p.skip, "skip/");
    if (p.moments.mean.features() > 0) {
        out.batch_as(b, "moments/mean", p.moments.mean.view());
        out.batch_as(b, "moments/deviation", p.moments.deviation.view());
    }
}
template <Backend B>
[[nodiscard]] io::json prior_state(const diffusion_prior<B>& p) {
    io::json history = io::json::array();
    for (const auto& d : p.history) history.push_back(to_json(d));
    return {{"kind", "diffusion_prior"},
            {"laps", p.laps},
            {"features", p.mean.features()},
            {"estimate_rank", p.estimate ? io::json(p.estimate->rank()) : io::json(nullptr)},
            {"skip_rank", p.skip ? io::json(p.skip->rank()) : io::json(nullptr)},
            {"moments", p.moments.mean.features() > 0},
            {"history", history}};
}
template <Backend B>
[[nodiscard]] diffusion_prior<B> get_prior(B& b, checkpoint_reader<B>& in, const nn::parameter_table& table) {
    if (in.template state<std::string>("kind") != "diffusion_prior") in.fail("holds no diffusion prior");
    const auto features = in.template state<index_t>("features");
    if (features <= 0) in.fail("state \"features\" is not positive");
    diffusion_prior<B> p;
    p.laps = in.template state<index_t>("laps");
    try {
        for (const auto& entry : in.template state<io::json>("history")) p.history.push_back(diagnostics_from(entry));
    } catch (const io::json::exception& e) {
        in.fail(std::string("state \"history\": ") + e.what());
    }
    p.weights = to_backend(b, in.flat("last/", table), table.size(), 1);
    p.average = to_backend(b, in.flat("average/", table), table.size(), 1);
    const auto read = [&](const std::string& name, index_t items) {
        return to_backend(b, in.batch_as(name, features, items), features, items);
    };
    p.mean = read("mean", 1);
    const auto read_gaussian = [&](const char* key,
                                   const std::string& prefix) -> std::optional<diffusion::gaussian<B>> {
        const auto rank = in.template state<io::json>(key);
        if (rank.is_null()) return std::nullopt;
        if (!rank.is_number_unsigned()) in.fail("state \"" + std::string(key) + "\" is not a size");
        return get_gaussian(b, in, features, rank.template get<index_t>(), prefix);
    };
    p.estimate = read_gaussian("estimate_rank", "estimate/");
    if (in.state().contains("skip_rank")) p.skip = read_gaussian("skip_rank", "skip/");
    if (in.template state<bool>("moments")) {
        p.moments.mean = read("moments/mean", 1);
        p.moments.deviation = read("moments/deviation", 1);
    }
    return p;
}

/// A prior in a file of its own. `config` says how the model is built. Throws io_error.
template <Backend B>
void save_prior(const std::filesystem::path& path, B& b, const nn::parameter_table& table,
                const diffusion_prior<B>& prior, const io::json& config = io::json::object()) {
    checkpoint_writer<B> out(config, prior_state(prior));
    put_prior(b, out, table, prior);
    out.write(path);
}
/// Throws io_error where the file is no prior of this model.
template <Backend B>
[[nodiscard]] diffusion_prior<B> load_prior(const std::filesystem::path& path, B& b, const nn::parameter_table& table) {
    checkpoint_reader<B> in(path);
    auto p = get_prior(b, in, table);
    in.finish();
    return p;
}

}  // namespace diem::prior
