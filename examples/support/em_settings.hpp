// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <diem/diffusion/sampling.hpp>
#include <diem/io/config.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/settings.hpp>

/// What the programs' JSON configurations share beside the library's options (diem/prior/settings.hpp): an unknown key or a
/// value out of range is a config_error that names it.
namespace support {

using diem::io::config_object;

/// The file (none where `path` is empty) with the `changes`, each KEY=VALUE (see io::set_entry).
[[nodiscard]] inline diem::io::config_source config_with(const std::filesystem::path& path,
                                                         const std::vector<std::string>& changes) {
    auto source = path.empty() ? diem::io::config_source{diem::io::json::object()} : diem::io::load_config(path);
    for (const auto& change : changes) diem::io::set_entry(source, change);
    return source;
}

/// Options that describe themselves, as the object at `key`; true where it is there.
template <class Options>
bool read_object(config_object& c, const std::string& key, Options& options, diem::index_t items = 0) {
    return c.object(key, [&](config_object& o) { diem::prior::read_settings(o, options, items); });
}

/// A network that can be trained, of any type, see diem/model/config.hpp.
inline void read_network(config_object& c, const std::string& key, diem::model::network_config& target) {
    diem::io::json network = diem::model::to_json(target);
    c.optional(key, network);
    try {
        target = diem::model::parse_network(network);
    } catch (const diem::config_error& e) {
        c.fail(key, e.what());
    }
    if (std::holds_alternative<diem::nn::ddpm_unet_config>(target))
        c.fail(key, "\"ddpm_unet\" is for weights from elsewhere; it is not trained here");
}
/// A network of one type, see diem/model/config.hpp; `expected` names it in the error.
template <class Config>
void read_network(config_object& c, const std::string& key, const std::string& expected, Config& target) {
    diem::model::network_config parsed = target;
    read_network(c, key, parsed);
    if (!std::holds_alternative<Config>(parsed)) c.fail(key, "expected " + expected);
    target = std::get<Config>(parsed);
}

/// Names of samplers on a command line.
inline const std::vector<std::pair<std::string, diem::diffusion::sampler_choice>> sampler_names{
    {"ddpm", diem::diffusion::sampler_choice::ddpm},
    {"ddim", diem::diffusion::sampler_choice::ddim},
    {"heun", diem::diffusion::sampler_choice::heun},
    {"predictor_corrector", diem::diffusion::sampler_choice::predictor_corrector},
    {"dpm_solver_2m", diem::diffusion::sampler_choice::dpm_2m},
    {"dpm_solver_2m_sde", diem::diffusion::sampler_choice::dpm_2m_sde}};

}  // namespace support
