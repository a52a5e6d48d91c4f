// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/model/config.hpp>
#include <diem/posterior/options.hpp>
#include <diem/prior/e_step.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/trainer.hpp>

/// The parts of a JSON configuration that the programs share. Keys are the names of the options; what is left out keeps its
/// value; an unknown key or a value out of range is a config_error that names it.
namespace support {

using diem::io::config_object;

/// The file (none where `path` is empty) with the `changes`, each KEY=VALUE (see io::set_entry).
[[nodiscard]] inline diem::io::config_source config_with(const std::filesystem::path& path,
                                                         const std::vector<std::string>& changes) {
    auto source = path.empty() ? diem::io::config_source{diem::io::json::object()} : diem::io::load_config(path);
    for (const auto& change : changes) diem::io::set_entry(source, change);
    return source;
}

/// One of several named values.
template <class E>
void read_choice(config_object& c, const std::string& key, E& target,
                 const std::vector<std::pair<std::string, E>>& all) {
    std::vector<std::string> names;
    std::string name;
    for (const auto& [n, value] : all) {
        names.push_back(n);
        if (value == target) name = n;
    }
    c.optional(key, name).one_of(names);
    for (const auto& [n, value] : all)
        if (n == name) target = value;
}

/// A network of any type, see diem/model/config.hpp.
inline void read_network(config_object& c, const std::string& key, diem::model::network_config& target) {
    diem::io::json network = diem::model::to_json(target);
    c.optional(key, network);
    try {
        target = diem::model::parse_network(network);
    } catch (const diem::config_error& e) {
        c.fail(key, e.what());
    }
}
/// A network of one type, see diem/model/config.hpp; `expected` names it in the error.
template <class Config>
void read_network(config_object& c, const std::string& key, const std::string& expected, Config& target) {
    diem::model::network_config parsed = target;
    read_network(c, key, parsed);
    if (!std::holds_alternative<Config>(parsed)) c.fail(key, "expected " + expected);
    target = std::get<Config>(parsed);
}

inline const std::vector<std::pair<std::string, diem::prior::sampler_choice>> sampler_names{
    {"ddpm", diem::prior::sampler_choice::ddpm},
    {"ddim", diem::prior::sampler_choice::ddim},
    {"predictor_corrector", diem::prior::sampler_choice::predictor_corrector},
    {"dpm_solver_2m", diem::prior::sampler_choice::dpm_solver_2m},
    {"dpm_solver_2m_sde", diem::prior::sampler_choice::dpm_solver_2m_sde}};

/// {"name", "steps", "batch", "samples_per_observation", "sigma_min", "sigma_max"}
inline void read_sampler(config_object& c, const std::string& key, diem::prior::sampling_options& s) {
    c.object(key, [&](config_object& o) {
        read_choice(o, "name", s.sampler, sampler_names);
        o.optional("steps", s.steps).at_least(1);
        o.optional("batch", s.batch).at_least(1);
        o.optional("samples_per_observation", s.samples_per_observation).at_least(1);
        o.optional("sigma_min", s.sigma_min).above(0.0);
        o.optional("sigma_max", s.sigma_max).above(s.sigma_min);
    });
}

/// What `read_sampler` reads.
[[nodiscard]] inline diem::io::json sampler_json(const diem::prior::sampling_options& s) {
    std::string name;
    for (const auto& [n, value] : sampler_names)
        if (value == s.sampler) name = n;
    return {{"name", name},
            {"steps", s.steps},
            {"batch", s.batch},
            {"samples_per_observation", s.samples_per_observation},
            {"sigma_min", s.sigma_min},
            {"sigma_max", s.sigma_max}};
}

/// {"covariance", "solver", "max_iterations", "relative_tolerance", "check_every", "switch_sigma", "precondition"}
inline void read_posterior(config_object& c, const std::string& key, diem::posterior::mmps_options& m) {
    c.object(key, [&](config_object& o) {
        const auto named = [&](const char* name_key, auto& target, auto from) {
            std::string name(to_string(target));
            o.optional(name_key, name);
            try {
                target = from(name);
            } catch (const diem::config_error& e) {
                o.fail(name_key, e.what());
            }
        };
        named("covariance", m.cov_x, diem::posterior::covariance_from);
        named("solver", m.solver, diem::posterior::solver_from);
        o.optional("max_iterations", m.max_iterations).at_least(0);
        o.optional("relative_tolerance", m.relative_tolerance).at_least(0.0);
        o.optional("check_every", m.check_every).at_least(0);
        o.optional("switch_sigma", m.switch_sigma).above(0.0);
        o.optional("precondition", m.precondition);
    });
}
/// What `read_posterior` reads.
[[nodiscard]] inline diem::io::json posterior_json(const diem::posterior::mmps_options& m) {
    return {{"covariance", to_string(m.cov_x)},   {"solver", to_string(m.solver)},
            {"max_iterations", m.max_iterations}, {"relative_tolerance", m.relative_tolerance},
            {"check_every", m.check_every},       {"switch_sigma", m.switch_sigma},
            {"precondition", m.precondition}};
}

/// {"steps", "epochs", "batch", "micro_batch", "dropout", "rate": {"schedule", "initial", "final"}, "max_norm", "ema_decay",
///  "augmentation": {"flip", "hue", "saturation_min", "saturation_max", "shake"}}; `epochs` passes over `items` samples
/// stand for so many steps.
inline void read_training(config_object& c, const std::string& key, diem::train::training_options& t,
                          diem::index_t items) {
    c.object(key, [&](config_object& o) {
        diem::index_t epochs = 0;
        o.optional("steps", t.steps).at_least(1);
        o.optional("epochs", epochs).at_least(0);
        o.optional("batch", t.batch).at_least(1);
        if (epochs > 0) t.steps = diem::train::steps_of_epochs(epochs, items, t.batch);
        o.optional("micro_batch", t.loss.micro_batch).at_least(0);
        o.optional("dropout", t.loss.dropout).at_least(0.0).below(1.0);
        o.object("rate", [&](config_object& r) {
            using diem::train::rate_schedule;
            read_choice(r, "schedule", t.rate.schedule,
                        {{"constant", rate_schedule::constant},
                         {"linear", rate_schedule::linear},
                         {"exponential", rate_schedule::exponential}});
            r.optional("initial", t.rate.initial).above(0.0);
            r.optional("final", t.rate.final).above(0.0);
        });
        o.optional("max_norm", t.adam.max_norm).above(0.0);
        o.optional("ema_decay", t.adam.ema_decay).at_least(0.0).below(1.0);
        o.object("augmentation", [&](config_object& a) {
            a.optional("flip", t.augmentation.flip);
            a.optional("hue", t.augmentation.hue);
            a.optional("saturation_min", t.augmentation.saturation_min).at_least(0.0);
            a.optional("saturation_max", t.augmentation.saturation_max).at_least(t.augmentation.saturation_min);
            a.optional("shake", t.augmentation.shake).at_least(0);
        });
    });
}

/// {"laps", "switch_factor", "gaussian_skip", "clip_samples", "refresh": {"mean", "estimate", "rank", "samples"}, "sampler", "posterior", "training"}, of
/// `items` observations.
inline void read_em(config_object& o, diem::prior::em_options& em, diem::index_t items) {
    o.optional("laps", em.laps).at_least(0);
    o.optional("switch_factor", em.switch_factor).at_least(0.0);
    o.optional("gaussian_skip", em.gaussian_skip);
    o.optional("clip_samples", em.clip_samples);
    o.object("refresh", [&](config_object& r) {
        r.optional("mean", em.refresh.mean);
        r.optional("estimate", em.refresh.estimate);
        r.optional("rank", em.refresh.rank).at_least(0);
        r.optional("samples", em.refresh.samples).at_least(2);
    });
    read_sampler(o, "sampler", em.sampling);
    read_posterior(o, "posterior", em.mmps);
    read_training(o, "training", em.training, items * em.sampling.samples_per_observation);
}

}  // namespace support
