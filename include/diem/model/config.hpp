// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include <diem/core/error.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>

/// Networks from JSON and back:
///
///     {"type": "mlp", "features": 5, "hidden": [256, 256, 256], "emb": 64, "normalize": true}
///     {"type": "unet", "shape": [32, 32, 3], "hid_channels": [128, 256, 384], "hid_blocks": [5, 5, 5], "emb": 256,
///      "heads": {"1": 4}, "patch": 1}
/// `shape` is (height, width, channels) of the data, `heads` maps levels to attention heads. "normalize", "heads" and "patch"
/// may be left out. An unknown key, a missing one or a wrong type throws config_error naming it.
namespace diem::model {

using network_config = std::variant<nn::mlp_config, nn::unet_config>;

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
inline index_t level_of(const std::string& key) {
    if (key.empty() || key.size() > 2 || key.find_first_not_of("0123456789") != std::string::npos)
        throw config_error("model: network: key \"heads\" has \"" + key + "\", expected a level");
    return std::stol(key);
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
    throw config_error("model: network: key \"type\" is \"" + type + "\", expected \"mlp\" or \"unet\"");
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
[[nodiscard]] inline nlohmann::json to_json(const network_config& c) {
    return std::visit([](const auto& each) { return to_json(each); }, c);
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
