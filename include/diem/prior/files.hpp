// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/diagnostics_json.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/same_run.hpp>
#include <diem/prior/settings.hpp>

/// \file
/// Learned priors in files: safetensors that say themselves how the network is built and how to draw. Tensors: last/NAME and
/// average/NAME (the network's weights), mean, estimate/{mu,d,u}, skip/{mu,d,u}, moments/{mean,deviation}. A network trained elsewhere,
/// see tools/convert_network, has average/NAME alone (and may have a mean and an estimate), and its parameterization in the configuration.
/// \snippet tests/examples/prior.cpp prior/files.hpp

namespace diem::prior {

namespace detail {

/// What a file says in its "config": the network, how to draw, the user's notes.
struct stored_config {
    std::optional<model::network_config> network;
    model::preconditioning form{};
    drawing_options drawing;
    io::json notes = io::json::object();
};

template <Backend B, class Net>
[[nodiscard]] io::json config_of(const learned<B, Net>& p) {
    io::json j = settings_json(p.drawing);
    j["network"] = p.has_network() ? model::to_json(p.network().net().config()) : io::json(nullptr);
    if (p.has_network() && !p.trainable()) j["preconditioning"] = model::to_json(p.network().options());
    j["notes"] = p.notes;
    return j;
}

/// Also of files written before: the network alone, or with the keys "program", "image" and "seed". Throws config_error.
[[nodiscard]] inline stored_config config_from(const io::json& value, const std::string& where) {
    stored_config c;
    c.drawing.mmps = em_options{}.mmps;
    c.drawing.sampling = em_options{}.sampling;
    c.drawing.switch_factor = em_options{}.switch_factor;
    if (value.is_object() && value.empty()) return c;
    if (value.is_object() && value.contains("type")) {
        c.network = model::parse_network(value);
        return c;
    }
    const io::json whole = completed(value);
    io::config_object o(whole, where + " (config)", "");
    o.ignore("program");
    o.ignore("seed");
    io::json network;
    o.optional("network", network);
    if (!network.is_null()) c.network = model::parse_network(network);
    io::json form;
    o.optional("preconditioning", form);
    if (!form.is_null()) c.form = model::parse_preconditioning(form);
    read_settings(o, c.drawing);
    o.optional("notes", c.notes);
    io::json image;
    o.optional("image", image);
    if (!image.is_null()) c.notes["image"] = image;
    o.finish();
    return c;
}

template <Backend B>
void put_gaussian(B& b, checkpoint_writer<B>& out, const diffusion::gaussian<B>& g, const std::string& prefix) {
    out.batch_as(b, prefix + "mu", as_batch(g.mu()));
    out.batch_as(b, prefix + "d", as_batch(g.d()));
    out.batch_as(b, prefix + "u", g.u());
}
inline constexpr std::array<const char*, 2> basis_names{"hartley", "cosine"};  // of linop::image_basis::kind
/// In a state, under `key`: null or the image that a Gaussian has coefficients of.
[[nodiscard]] inline io::json basis_json(const std::optional<linop::image_basis>& basis) {
    if (!basis) return nullptr;
    return {{"type", basis_names[static_cast<std::size_t>(basis->of_kind())]},
            {"shape", {basis->height(), basis->width(), basis->channels()}}};
}
template <Backend B>
[[nodiscard]] std::optional<linop::image_basis> get_basis(checkpoint_reader<B>& in, index_t features,
                                                          const std::string& key) {
    if (!in.state().contains(key)) return std::nullopt;
    const auto j = in.template state<io::json>(key);
    const auto where = "state \"" + key + "\"";
    if (j.is_null()) return std::nullopt;
    try {
        const auto kind = std::find(basis_names.begin(), basis_names.end(), j.at("type"));
        if (kind == basis_names.end()) in.fail(where + ": unknown type " + j.at("type").dump());
        const auto shape = j.at("shape").template get<std::array<index_t, 3>>();
        for (const index_t side : shape)
            if (side < 1 || side > features) in.fail(where + ": the shape is out of range");
        const linop::image_basis basis(static_cast<linop::image_basis::kind>(kind - basis_names.begin()), shape[0],
                                       shape[1], shape[2]);
        if (basis.rows() != features)
            in.fail(where + " is of " + std::to_string(basis.rows()) + " features, the prior of " +
                    std::to_string(features));
        return basis;
    } catch (const shape_error& e) {  // no number holds that many
        in.fail(where + ": " + e.what());
    } catch (const io::json::exception& e) {
        in.fail(where + ": " + e.what());
    }
}
template <Backend B>
[[nodiscard]] diffusion::gaussian<B> get_gaussian(B& b, checkpoint_reader<B>& in, index_t features, index_t rank,
                                                  const std::string& name) {
    const auto basis = get_basis(in, features, name + "_basis");
    const auto prefix = name + "/";
    if (rank < 0 || rank > features) in.fail("state: the rank of " + prefix + " is out of range");
    const auto read = [&](const std::string& tensor, index_t items) {
        return to_backend(b, in.batch_as(tensor, features, items), features, items);
    };
    auto mu = read(prefix + "mu", 1), d = read(prefix + "d", 1), u = read(prefix + "u", rank);
    try {
        return {b, std::move(mu), std::move(d), std::move(u), basis};
    } catch (const value_error& e) {
        in.fail(prefix + ": " + e.what());
    }
}

/// The tensors of a prior.
template <Backend B, class Net>
void put_prior(B& b, checkpoint_writer<B>& out, const learned<B, Net>& p) {
    if (p.has_network()) {
        const auto& table = p.network().table();
        if (p.trainable()) out.flat(b, "last/", table, p.last_weights());
        out.flat(b, "average/", table, p.network().parameters());
        out.batch_as(b, "mean", as_batch(p.mean()));
        if (const auto* skip = p.network().skip_gaussian()) put_gaussian(b, out, *skip, "skip/");
    }
    if (const auto* g = p.estimate()) put_gaussian(b, out, *g, "estimate/");
    if (p.moments.mean.features() > 0) {
        out.batch_as(b, "moments/mean", p.moments.mean.view());
        out.batch_as(b, "moments/deviation", p.moments.deviation.view());
    }
}
/// What has to be known to read them.
template <Backend B, class Net>
[[nodiscard]] io::json state_of(const learned<B, Net>& p) {
    io::json history = io::json::array();
    for (const auto& d : p.history) history.push_back(to_json(d));
    const auto* skip = p.has_network() ? p.network().skip_gaussian() : nullptr;
    io::json state{{"kind", p.trainable()     ? "diffusion_prior"
                            : p.has_network() ? "network_prior"
                                              : "gaussian_prior"},
                   {"features", p.features()},
                   {"moments", p.moments.mean.features() > 0}};
    if (p.estimate() && p.estimate()->basis()) state["estimate_basis"] = basis_json(p.estimate()->basis());
    if (p.has_network()) state["estimate_rank"] = p.estimate() ? io::json(p.estimate()->rank()) : io::json(nullptr);
    if (p.trainable()) {
        state["laps"] = p.laps();
        state["skip_rank"] = skip ? io::json(skip->rank()) : io::json(nullptr);
        if (skip && skip->basis()) state["skip_basis"] = basis_json(skip->basis());
        state["history"] = std::move(history);
    } else if (!p.has_network()) {
        state["rank"] = p.estimate()->rank();
    }
    return state;
}

/// `net` builds the network from its configuration.
template <Backend B, class Net, class Build>
[[nodiscard]] learned<B, Net> get_prior(B& b, checkpoint_reader<B>& in, const Build& net) {
    const auto kind = in.template state<std::string>("kind");
    if (kind != "diffusion_prior" && kind != "gaussian_prior" && kind != "network_prior")
        in.fail("holds a " + kind + ", expected a gaussian_prior, a diffusion_prior or a network_prior");
    const auto features = in.template state<index_t>("features");
    if (features <= 0) in.fail("state \"features\" is not positive");
    auto config = config_from(in.config(), in.path().string());
    const auto read = [&](const std::string& name, index_t items) {
        return to_backend(b, in.batch_as(name, features, items), features, items);
    };
    const auto finish = [&](learned<B, Net> p) {
        if (in.state().contains("moments") && in.template state<bool>("moments"))
            p.moments = {read("moments/mean", 1), read("moments/deviation", 1)};
        p.notes = std::move(config.notes);
        return p;
    };
    const bool described = in.config().contains("sampler");
    if (kind == "gaussian_prior") {
        learned<B, Net> p(b, get_gaussian(b, in, features, in.template state<index_t>("rank"), "estimate"));
        if (described) p.drawing = config.drawing;
        if (in.state().contains("notes")) config.notes.update(in.template state<io::json>("notes"));  // of old files
        return finish(std::move(p));
    }
    const auto read_gaussian = [&](const std::string& name) -> std::optional<diffusion::gaussian<B>> {
        const auto key = name + "_rank";
        if (!in.state().contains(key)) return std::nullopt;
        const auto rank = in.template state<io::json>(key);
        if (rank.is_null()) return std::nullopt;
        if (!rank.is_number_unsigned()) in.fail("state \"" + key + "\" is not a size");
        return get_gaussian(b, in, features, rank.template get<index_t>(), name);
    };
    const auto network_of = [&] {
        model::preconditioned<B, Net> network(b, net(config.network), config.form);
        if (network.features() != features)
            in.fail("its network is for " + std::to_string(network.features()) + " features, the state says " +
                    std::to_string(features));
        upload_flat(b, in.flat("average/", network.table()), network.mutable_parameters());
        return network;
    };
    if (kind == "network_prior") {
        batch<B> mean(b, features, 1);
        if (in.contains("mean"))
            mean = read("mean", 1);
        else
            b.fill(mean.view(), scalar_t<B>(0));
        learned<B, Net> p(network_of(), batch<B>(), std::move(mean), read_gaussian("estimate"));
        p.drawing = config.drawing;
        return finish(std::move(p));
    }
    const auto laps = in.template state<io::json>("laps");
    std::vector<lap_diagnostics> history;
    try {
        for (const auto& entry : in.template state<io::json>("history")) history.push_back(diagnostics_from(entry));
    } catch (const io::json::exception& e) {
        in.fail(std::string("state \"history\": ") + e.what());
    } catch (const io_error& e) {
        in.fail(std::string("state \"history\": ") + e.what());
    }
    if (!laps.is_number_unsigned() || laps.template get<std::size_t>() != history.size())
        in.fail("state \"laps\" is " + laps.dump() + ", its history has " + std::to_string(history.size()));
    auto estimate = read_gaussian("estimate");
    if (history.empty()) {  // before its first lap a run was kept with untrained weights
        if (!estimate) in.fail("its network is not trained: no lap is done yet");
        in.skip_prefix("last/"), in.skip_prefix("average/"), in.skip_prefix("skip/"), in.skip_prefix("mean");
        learned<B, Net> p(b, std::move(*estimate));
        if (described) p.drawing = config.drawing;
        return finish(std::move(p));
    }
    auto network = network_of();
    network.set_skip(b, read_gaussian("skip"));
    auto last = to_backend(b, in.flat("last/", network.table()), network.table().size(), 1);
    learned<B, Net> p(std::move(network), std::move(last), read("mean", 1), std::move(estimate));
    p.history = std::move(history);
    p.drawing = config.drawing;
    return finish(std::move(p));
}

/// Builds the network that a file describes. Throws io_error where it describes none of this type.
template <Backend B, class Net>
[[nodiscard]] auto network_of_file(const checkpoint_reader<B>& in) {
    return [&in](const std::optional<model::network_config>& c) {
        if (!c) in.fail("does not say how its network is built");
        if constexpr (std::is_constructible_v<Net, model::network_config>) {
            return Net(*c);
        } else {
            using config_type = std::remove_cvref_t<decltype(std::declval<const Net&>().config())>;
            const auto* own = std::get_if<config_type>(&*c);
            if (own == nullptr) in.fail("its network is of another type");
            return Net(*own);
        }
    };
}

}  // namespace detail

/// Writes a prior, atomically: with its network's configuration, how to draw from it, and its notes. Throws io_error.
template <Backend B, class Net>
void save(const std::filesystem::path& path, B& b, const learned<B, Net>& prior) {
    checkpoint_writer<B> out(detail::config_of(prior), detail::state_of(prior));
    detail::put_prior(b, out, prior);
    out.write(path);
}

/// Reads a prior; of the state of a run, the prior of its last good lap. Throws io_error, config_error: no such file, other
/// tensors, sizes or element types, numbers that are not finite, damage. `note`: what is worth telling of the file, a sentence, as
/// that it has no hashes to compare; or empty.
template <Backend B, class Net = model::any_network<B>>
[[nodiscard]] learned<B, Net> load(const std::filesystem::path& path, B& b, std::string* note = nullptr) {
    checkpoint_reader<B> in(path);
    auto p = detail::get_prior<B, Net>(b, in, detail::network_of_file<B, Net>(in));
    if (!in.state().contains("run")) in.finish();
    if (note != nullptr) *note = in.note();
    return p;
}

}  // namespace diem::prior
