// SPDX-License-Identifier: Apache-2.0
#include "diem/fit_settings.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/io/config.hpp>
#include <diem/model/any_network.hpp>

#include "support/em_settings.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

namespace {

/// Where things are; the rest depends on the data.
void read_sources(io::config_object& c, fit_settings& s, const std::string& where, const fs::path& folder) {
    c.ignore("comment");
    std::string file;
    c.required("observations", file);
    s.observations = folder / file;
    io::json text;
    c.required("operator", text);
    s.description = text.is_string() ? load_description(folder / text.get<std::string>())
                                     : describe(text, where + " (operator)", folder);
    c.required("sigma_y", text);
    s.sigma = sigma_source::of(text, where, folder);
    std::vector<index_t> image;
    c.optional("image", image)
        .satisfies(!c.contains("image") ||
                       (image.size() == 3 && *std::min_element(image.begin(), image.end()) > 0 && image[2] <= 4),
                   "[height, width, channels], 1 to 4 channels");
    if (!image.empty()) s.image = support::image_shape{image[0], image[1], image[2]};
}

void read_stages(io::config_object& c, fit_settings& s, const data_facts& data) {
    const index_t features = data.features;
    const bool mask = data.mask;
    auto& g = s.gaussian;
    g.rank = std::min<index_t>(64, features);
    g.e_step = mask && features > 1024 ? prior::gaussian_e_step::draws : prior::gaussian_e_step::moments;
    g.mmps.precondition = mask;
    g.mmps.max_iterations = 64;
    c.object("gaussian", [&](io::config_object& o) {
        support::read_gaussian(o, g, features);
        if (!mask && g.e_step == prior::gaussian_e_step::draws)
            o.fail("e_step", "exact draws need a mask; with other operators use \"moments\" or \"diffusion\"");
        if (!mask && g.mmps.precondition) o.fail("posterior.precondition", "a preconditioner needs a mask");
    });

    auto& em = s.prior.em;
    em.sampling = {
        .sampler = prior::sampler_choice::dpm_solver_2m_sde, .steps = 64, .sigma_min = 5e-3, .sigma_max = 20};
    em.refresh = {.mean = true, .estimate = true, .rank = g.rank};
    em.training.steps = 1000;
    em.training.rate = {.schedule = train::rate_schedule::linear, .initial = 1e-3, .final = 1e-5};
    em.training.adam.ema_decay = 0.99;
    em.training.report_every = 50;
    c.optional("seed", em.seed);
    em.initial_mmps = g.mmps;
    em.initial_mmps->precondition = false;  // its operator may be any
    if (c.contains("network")) support::read_network(c, "network", s.prior.network.emplace(nn::mlp_config{}));
    const bool has_em = c.object("em", [&](io::config_object& o) {
        support::read_em(o, em, data.items);
        if (em.mmps.precondition) o.fail("posterior.precondition", "is for Gaussian priors only");
    });
    if (has_em && !s.prior.network) c.fail("em", "there is no \"network\" to train");
    if (s.prior.network) {
        // Throws where the sizes of the network do not fit together.
        const model::any_network<reference_backend<float>> net(*s.prior.network);
        if (net.features() != features)
            c.fail("network", "is for " + std::to_string(net.features()) + " features, the operator takes " +
                                  std::to_string(features));
    }
    c.optional("pictures", s.pictures).at_least(1);
    s.prior.image = data.image;
    auto& a = em.training.augmentation;
    if (data.image) {
        a.height = data.image->height;
        a.width = data.image->width;
        a.channels = data.image->channels;
    }
    if (a.any() && !data.image) c.fail("em.training.augmentation", "needs \"image\"");
}

}  // namespace

fit_settings read_settings(const fs::path& file, const std::function<data_facts(const fit_settings&)>& load) {
    const auto source = io::load_config(file);
    fit_settings s;
    io::read_config(source, [&](io::config_object& c) {
        read_sources(c, s, source.where, file.parent_path());
        read_stages(c, s, load(s));
    });
    return s;
}

}  // namespace program
