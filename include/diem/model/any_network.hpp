// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/model/config.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/unet.hpp>

/// \file
/// A network chosen when the program runs.
/// \snippet tests/examples/model.cpp model/any_network.hpp

namespace diem::model {

/// An MLP or a U-Net, or one of `More` (whole types), chosen when the program runs: an `nn::Network`, so that what is built on
/// networks is compiled once for all. Each call looks up the choice once. With the networks that are trained elsewhere it is
/// `pretrained_network`, in a header of its own: who has none compiles none.
template <Backend B, class... More>
class any_network {
    using in = const_view_t<B>;
    using out = view_t<B>;
    using parameters_in = const_vector_t<B>;
    using mlp = nn::mlp<B>;
    using unet = nn::unet<B>;

public:
    class activations {
        friend class any_network;
        std::variant<std::monostate, typename mlp::activations, typename unet::activations,
                     typename More::activations...>
            saved_;
    };

    /// Throws value_error where sizes are out of range, config_error for a network that is not among these.
    explicit any_network(const network_config& config)
        : net_(std::visit([](const auto& c) { return make(c); }, config)) {}

    [[nodiscard]] const nn::parameter_table& parameters() const {
        return std::visit([](const auto& n) -> const nn::parameter_table& { return n.parameters(); }, net_);
    }
    [[nodiscard]] network_config config() const {
        return std::visit([](const auto& n) -> network_config { return n.config(); }, net_);
    }
    [[nodiscard]] index_t features() const {
        return std::visit([](const auto& n) { return n.features(); }, net_);
    }
    [[nodiscard]] index_t embedding() const {
        return std::visit([](const auto& n) { return n.embedding(); }, net_);
    }
    /// See `nn::ddpm_unet::set_labels`. Throws value_error for a network without classes.
    void set_labels(std::vector<index_t> labels) {
        std::visit(
            [&](auto& net) {
                constexpr bool has_classes = requires { net.set_labels(std::move(labels)); };
                check_value("model::any_network", has_classes, "the network has no classes, a label was given");
                if constexpr (has_classes) net.set_labels(std::move(labels));
            },
            net_);
    }
    void parameters_changed() {
        std::visit([](auto& n) { n.parameters_changed(); }, net_);
    }
    [[nodiscard]] index_t block_unit() const {
        return std::visit(
            [](const auto& n) {
                if constexpr (requires { n.block_unit(); })
                    return n.block_unit();
                else
                    return index_t{0};
            },
            net_);
    }
    void forward(B& b, parameters_in p, in x, in t, out y) {
        std::visit([&](auto& n) { n.forward(b, p, x, t, y); }, net_);
    }
    void forward(B& b, parameters_in p, in x, in t, out y, const nn::save_options& o, activations& saved) {
        std::visit(
            [&]<class N>(N& n) {
                auto& own = saved.saved_.template emplace<typename N::activations>();
                n.forward(b, p, x, t, y, o, own);
            },
            net_);
    }
    void jvp(B& b, parameters_in p, const activations& saved, in x_dot, out y_dot) {
        with(saved, [&](auto& n, const auto& own) { n.jvp(b, p, own, x_dot, y_dot); });
    }
    void vjp(B& b, parameters_in p, const activations& saved, in y_bar, out x_bar) {
        with(saved, [&](auto& n, const auto& own) { n.vjp(b, p, own, y_bar, x_bar); });
    }
    void vjp_params(B& b, parameters_in p, const activations& saved, in y_bar, vector_t<B> grad, nn::update mode,
                    out x_bar = {}) {
        with(saved, [&](auto& n, const auto& own) { n.vjp_params(b, p, own, y_bar, grad, mode, x_bar); });
    }
    [[nodiscard]] std::size_t activation_bytes(index_t items, const nn::save_options& o, index_t embeddings = 1) const {
        return std::visit([&](const auto& n) { return n.activation_bytes(items, o, embeddings); }, net_);
    }

private:
    using choice = std::variant<mlp, unet, More...>;
    template <class Config, class N, class... Others>
    static choice make_first_of(const Config& c) {
        if constexpr (std::is_same_v<Config, std::remove_cvref_t<decltype(std::declval<const N&>().config())>>)
            return N(c);
        else if constexpr (sizeof...(Others) > 0)
            return make_first_of<Config, Others...>(c);
        else
            throw config_error(
                "model::any_network: no network of this type here; networks trained elsewhere need "
                "model::pretrained_network");
    }
    template <class Config>
    static choice make(const Config& c) {
        return make_first_of<Config, mlp, unet, More...>(c);
    }
    template <class F>
    void with(const activations& saved, const F& f) {
        std::visit([&]<class N>(N& n) { f(n, std::get<typename N::activations>(saved.saved_)); }, net_);
    }

    choice net_;
};

}  // namespace diem::model
