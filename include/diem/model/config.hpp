// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include <diem/core/error.hpp>
#include <diem/model/parameterization.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>

/// \file
/// Networks from JSON and back:
///
///     {"type": "mlp", "features": 5, "hidden": [256, 256, 256], "emb": 64, "normalize": true}
///     {"type": "unet", "shape": [32, 32, 3], "hid_channels": [128, 256, 384], "hid_blocks": [5, 5, 5], "emb": 256,
///      "heads": {"1": 4}, "patch": 1}
/// `shape` is (height, width, channels) of the data, `heads` maps levels to attention heads. "normalize", "heads" and "patch"
/// may be left out. Networks trained elsewhere have "type": "ddpm_unet" and the names of `nn::ddpm_unet_config`, all of them given
/// (tools/convert_network writes them). An unknown key, a missing one or a wrong type throws config_error naming it.
/// \snippet tests/examples/model.cpp model/config.hpp

namespace diem::model {

using network_config = std::variant<nn::mlp_config, nn::unet_config, nn::ddpm_unet_config>;

namespace detail {
inline void check_keys(const nlohmann::json& j, std::initializer_list<const char*> known) {
    for (const auto& [key, value] : j.items()) {
        bool found = false;
        for (const char* k : known) found = found || key == k;
        if (!found) throw config_error("model: network: unknown key \"" + key + "\"");
    }
}
template <class V>
V get(const nlohmann::json& j, const char* key) {
    const auto at = j.find(key);
    if (at == j.end()) throw config_error(std::string("model: network: key \"") + key + "\" is missing");
    try {
        return at->template get<V>();
    } catch (const nlohmann::json::exception& e) {
        throw config_error(std::string("model: network: key \"") + key + "\": " + e.what());
    }
}
template <class V>
V get(const nlohmann::json& j, const char* key, const V& fallback) {
    return j.contains(key) ? get<V>(j, key) : fallback;
}
/// Integers only: nlohmann would truncate 1.5.
inline index_t get_integer(const nlohmann::json& value, const char* key) {
    if (!value.is_number_integer())
        throw config_error(std::string("model: network: key \"") + key + "\" holds " + value.dump() +
                           ", expected an integer");
    constexpr index_t most = index_t{1} << 31;  // products of two can be counted
    // nlohmann compares an unsigned number beyond the signed ones as a negative one.
    if (value.is_number_unsigned() ? value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)
                                   : value.get<std::int64_t>() > most)
        throw config_error("model: network: key \"" + std::string(key) + "\" holds " + value.dump() +
                           ", expected at most " + std::to_string(most));
    return value.get<index_t>();
}
/// Of the noise level.
inline index_t get_embedding(const nlohmann::json& j) {
    const auto size = get_integer(get<nlohmann::json>(j, "emb"), "emb");
    if (size < 4 || size % 2 != 0)
        throw config_error("model: network: key \"emb\" holds " + std::to_string(size) +
                           ", expected an even number, at least 4");
    return size;
}
inline index_t get_size(const nlohmann::json& j, const char* key) {
    return get_integer(get<nlohmann::json>(j, key), key);
}
inline std::vector<index_t> get_sizes(const nlohmann::json& j, const char* key) {
    const auto list = get<nlohmann::json>(j, key);
    if (!list.is_array()) throw config_error(std::string("model: network: key \"") + key + "\" is not a list");
    std::vector<index_t> out;
    for (const auto& value : list) out.push_back(get_integer(value, key));
    return out;
}
inline double get_number(const nlohmann::json& value, const char* key) {
    if (!value.is_number())
        throw config_error(std::string("model: network: key \"") + key + "\" holds " + value.dump() +
                           ", expected a number");
    return value.get<double>();
}
inline index_t level_of(const std::string& key) {
    if (key.empty() || key.size() > 2 || key.find_first_not_of("0123456789") != std::string::npos)
        throw config_error("model: network: key \"heads\" has \"" + key + "\", expected a level");
    return std::stol(key);
}
/// One of a few, by name.
template <class Enum>
struct named {
    const char* name;
    Enum value;
};
template <class Enum, std::size_t N>
Enum get_choice(const nlohmann::json& j, const char* key, const named<Enum> (&choices)[N]) {
    const auto name = get<std::string>(j, key);
    std::string all;
    for (const auto& c : choices) {
        if (name == c.name) return c.value;
        all += std::string(all.empty() ? "" : ", ") + c.name;
    }
    throw config_error(std::string("model: network: key \"") + key + "\" is \"" + name + "\", expected one of " + all);
}
template <class Enum, std::size_t N>
const char* name_of(Enum value, const named<Enum> (&choices)[N]) {
    for (const auto& c : choices)
        if (c.value == value) return c.name;
    return "";
}
inline constexpr named<nn::label_place> label_places[] = {{"noise", nn::label_place::noise},
                                                          {"embedding", nn::label_place::embedding}};
inline nn::ddpm_unet_config parse_ddpm_unet(const nlohmann::json& j) {
    check_keys(j, {"type",           "shape",          "stem",          "hid_channels",   "hid_blocks", "attention",
                   "attend_all",     "heads",          "head_channels", "noise_channels", "emb",        "scale_shift",
                   "groups",         "group_channels", "epsilon",       "residual_scale", "filter",     "skip_conv",
                   "residual_input", "labels",         "label_at",      "label"});
    nn::ddpm_unet_config c;
    const auto shape = get_sizes(j, "shape");
    if (shape.size() != 3) throw config_error("model: network: key \"shape\": expected [height, width, channels]");
    c.height = shape[0];
    c.width = shape[1];
    c.channels = shape[2];
    c.stem = get_size(j, "stem");
    c.hid_channels = get_sizes(j, "hid_channels");
    c.hid_blocks = get_size(j, "hid_blocks");
    c.attention = get_sizes(j, "attention");
    c.attend_all = get<bool>(j, "attend_all");
    c.heads = get_size(j, "heads");
    c.head_channels = get_size(j, "head_channels");
    c.noise_channels = get_size(j, "noise_channels");
    c.embedding = get_size(j, "emb");
    c.scale_shift = get<bool>(j, "scale_shift");
    c.groups = get_size(j, "groups");
    c.group_channels = get_size(j, "group_channels");
    c.epsilon = get_number(get<nlohmann::json>(j, "epsilon"), "epsilon");
    c.residual_scale = get_number(get<nlohmann::json>(j, "residual_scale"), "residual_scale");
    c.filter = get<std::vector<double>>(j, "filter");
    c.skip_conv = get<bool>(j, "skip_conv");
    c.residual_input = get<bool>(j, "residual_input");
    c.labels = get_size(j, "labels");
    c.label_at = get_choice(j, "label_at", label_places);
    c.label = get_size(j, "label");
    return c;
}
}  // namespace detail

/// Throws config_error.
[[nodiscard]] inline network_config parse_network(const nlohmann::json& j) {
    if (!j.is_object()) throw config_error("model: network: not an object");
    const auto type = detail::get<std::string>(j, "type");
    if (type == "mlp") {
        detail::check_keys(j, {"type", "features", "hidden", "emb", "normalize"});
        nn::mlp_config c;
        c.features = detail::get_size(j, "features");
        c.hidden = detail::get_sizes(j, "hidden");
        c.embedding = detail::get_embedding(j);
        c.normalize = detail::get<bool>(j, "normalize", true);
        return c;
    }
    if (type == "unet") {
        detail::check_keys(j, {"type", "shape", "hid_channels", "hid_blocks", "emb", "heads", "patch"});
        const auto shape = detail::get_sizes(j, "shape");
        if (shape.size() != 3) throw config_error("model: network: key \"shape\": expected [height, width, channels]");
        nn::unet_config c;
        c.height = shape[0];
        c.width = shape[1];
        c.channels = shape[2];
        c.hid_channels = detail::get_sizes(j, "hid_channels");
        c.hid_blocks = detail::get_sizes(j, "hid_blocks");
        for (const index_t blocks : c.hid_blocks)
            if (blocks > 1024)
                throw config_error("model: network: key \"hid_blocks\" holds " + std::to_string(blocks) +
                                   ", expected at most 1024");
        c.embedding = detail::get_embedding(j);
        if (j.contains("patch")) c.patch = detail::get_size(j, "patch");
        const auto heads = detail::get<nlohmann::json>(j, "heads", nlohmann::json::object());
        if (!heads.is_object()) throw config_error("model: network: key \"heads\" is not an object");
        for (const auto& [key, value] : heads.items())
            c.heads[detail::level_of(key)] = detail::get_integer(value, "heads");
        return c;
    }
    if (type == "ddpm_unet") return detail::parse_ddpm_unet(j);
    throw config_error("model: network: key \"type\" is \"" + type + "\", expected \"mlp\", \"unet\" or \"ddpm_unet\"");
}

[[nodiscard]] inline nlohmann::json to_json(const nn::mlp_config& c) {
    return {{"type", "mlp"},
            {"features", c.features},
            {"hidden", c.hidden},
            {"emb", c.embedding},
            {"normalize", c.normalize}};
}
[[nodiscard]] inline nlohmann::json to_json(const nn::unet_config& c) {
    nlohmann::json heads = nlohmann::json::object();
    for (const auto& [level, count] : c.heads) heads[std::to_string(level)] = count;
    return {{"type", "unet"},
            {"shape", {c.height, c.width, c.channels}},
            {"hid_channels", c.hid_channels},
            {"hid_blocks", c.hid_blocks},
            {"emb", c.embedding},
            {"heads", heads},
            {"patch", c.patch}};
}
[[nodiscard]] inline nlohmann::json to_json(const nn::ddpm_unet_config& c) {
    return {{"type", "ddpm_unet"},
            {"shape", {c.height, c.width, c.channels}},
            {"stem", c.stem},
            {"hid_channels", c.hid_channels},
            {"hid_blocks", c.hid_blocks},
            {"attention", c.attention},
            {"attend_all", c.attend_all},
            {"heads", c.heads},
            {"head_channels", c.head_channels},
            {"noise_channels", c.noise_channels},
            {"emb", c.embedding},
            {"scale_shift", c.scale_shift},
            {"groups", c.groups},
            {"group_channels", c.group_channels},
            {"epsilon", c.epsilon},
            {"residual_scale", c.residual_scale},
            {"filter", c.filter},
            {"skip_conv", c.skip_conv},
            {"residual_input", c.residual_input},
            {"labels", c.labels},
            {"label_at", detail::name_of(c.label_at, detail::label_places)},
            {"label", c.label}};
}
[[nodiscard]] inline nlohmann::json to_json(const network_config& c) {
    return std::visit([](const auto& each) { return to_json(each); }, c);
}

namespace detail {
inline constexpr named<prediction> predictions[] = {{"residual", prediction::residual},
                                                    {"noise", prediction::noise},
                                                    {"score", prediction::score},
                                                    {"velocity", prediction::velocity},
                                                    {"data", prediction::data}};
inline constexpr named<input_scale> input_scales[] = {{"residual", input_scale::residual},
                                                      {"preserving", input_scale::preserving},
                                                      {"exploding", input_scale::exploding}};
inline constexpr named<noise_label> noise_labels[] = {
    {"logarithm", noise_label::logarithm}, {"linear_vp", noise_label::linear_vp}, {"table", noise_label::table}};
}  // namespace detail

/// How a network trained elsewhere is seen as a denoiser:
///
///     {"predicts": "noise", "input": "preserving", "label": "linear_vp", "beta_d": 19.9, "beta_min": 0.1, "steps": 999}
/// Keys and names are those of model/parameterization.hpp; what is left out is as there. Throws config_error, value_error.
[[nodiscard]] inline preconditioning parse_preconditioning(const nlohmann::json& j) {
    if (!j.is_object()) throw config_error("model: preconditioning: not an object");
    detail::check_keys(
        j, {"predicts", "input", "label", "sigma_data", "scale", "reference", "beta_d", "beta_min", "steps", "sigmas"});
    preconditioning p;
    parameterization& f = p.form;
    f.predicts = detail::get_choice(j, "predicts", detail::predictions);
    f.input = detail::get_choice(j, "input", detail::input_scales);
    f.label = detail::get_choice(j, "label", detail::noise_labels);
    const auto number = [&](const char* key, double& target) {
        if (j.contains(key)) target = detail::get_number(j.at(key), key);
    };
    number("sigma_data", p.sigma_data);
    number("scale", f.scale);
    number("reference", f.reference);
    number("beta_d", f.beta_d);
    number("beta_min", f.beta_min);
    number("steps", f.steps);
    f.sigmas = detail::get<std::vector<double>>(j, "sigmas", {});
    check_parameterization(f);
    return p;
}
[[nodiscard]] inline nlohmann::json to_json(const preconditioning& p) {
    const parameterization& f = p.form;
    nlohmann::json j{{"predicts", detail::name_of(f.predicts, detail::predictions)},
                     {"input", detail::name_of(f.input, detail::input_scales)},
                     {"label", detail::name_of(f.label, detail::noise_labels)},
                     {"sigma_data", p.sigma_data}};
    if (f.label == noise_label::logarithm) {
        j["scale"] = f.scale;
        j["reference"] = f.reference;
    } else if (f.label == noise_label::linear_vp) {
        j["beta_d"] = f.beta_d;
        j["beta_min"] = f.beta_min;
        j["steps"] = f.steps;
    } else {
        j["sigmas"] = f.sigmas;
    }
    return j;
}

/// Sizes of the paper (arXiv 2405.13712, with its code) and small ones for a CPU.
namespace presets {
/// Manifold experiment: MLP 3 x 256, embedding 64.
[[nodiscard]] inline nn::mlp_config manifold_mlp(index_t features = 5) { return {features, {256, 256, 256}, 64, true}; }
/// 8 x 8 digits, as a flat vector.
[[nodiscard]] inline nn::mlp_config digits_mlp(index_t features = 64) { return {features, {256, 256, 256}, 64, true}; }
/// CIFAR-10: 57 M parameters.
[[nodiscard]] inline nn::unet_config cifar_unet() { return {32, 32, 3, 1, {128, 256, 384}, {5, 5, 5}, 256, {{1, 4}}}; }
/// Knee MRI: 320 x 320, the network sees 80 x 80 x 16.
[[nodiscard]] inline nn::unet_config mri_unet() {
    return {320, 320, 1, 4, {128, 256, 384, 512}, {3, 3, 3, 3}, 256, {{3, 4}}};
}
/// 32 x 32 images on a CPU.
[[nodiscard]] inline nn::unet_config small_unet() { return {32, 32, 3, 1, {32, 64, 128}, {2, 2, 2}, 128, {{2, 4}}}; }
}  // namespace presets

}  // namespace diem::model
