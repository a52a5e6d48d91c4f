// SPDX-License-Identifier: Apache-2.0
#include "diem/fit_settings.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/io/config.hpp>
#include <diem/model/any_network.hpp>

#include "support/em_settings.hpp"
#include "support/memory.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

namespace {

/// Where things are; the rest depends on the data.
void read_sources(io::config_object& c, fit_settings& s, const std::string& where, const fs::path& folder) {
    c.ignore("comment");
    io::json files;
    c.required("observations", files);
    s.observations = file_list(c, "observations", files, folder);
    std::string hidden, order, scale;
    c.optional("mask", hidden).satisfies(!c.contains("mask") || hidden == "nan", "\"nan\"");
    io::json text{{"type", "identity"}};  // where NaN says all
    if (hidden.empty())
        c.required("operator", text);
    else
        c.optional("operator", text);
    s.description = describe(text, where + " (operator)", folder);
    if (!hidden.empty() && s.description.type != "identity" && s.description.type != "mask")
        c.fail("mask", "goes with the operators identity and mask, this is " + s.description.type);
    s.description.nan_is_hidden = s.description.nan_is_hidden || !hidden.empty();
    c.optional("layout", order);
    if (c.contains("layout")) s.description.order = layout_of(order, where + ": \"layout\"");
    c.optional("scale", scale).satisfies(!c.contains("scale") || scale == "auto", "\"auto\"");
    s.auto_scale = !scale.empty();
    c.required("sigma_y", text);
    s.sigma = sigma_source::of(text, where, folder);
    std::vector<index_t> image;
    c.optional("image", image)
        .satisfies(!c.contains("image") ||
                       (image.size() == 3 && *std::min_element(image.begin(), image.end()) > 0 && image[2] <= 4),
                   "[height, width, channels], 1 to 4 channels");
    c.optional("seed", s.em.seed);
    c.optional("held_out", s.held_out).at_least(0).at_most(0.5);
    if (!image.empty()) s.image = support::image_shape{image[0], image[1], image[2]};
}

void read_stages(io::config_object& c, fit_settings& s, const data_facts& data) {
    const index_t features = data.features;
    const bool mask = data.mask;
    auto& g = s.gaussian;
    g.ppca.rank = std::min<index_t>(64, features);
    g.sampling = {.sampler = diffusion::sampler_choice::ddim, .steps = 64, .batch = 128};
    g.mmps.precondition = mask;
    c.object("gaussian", [&](io::config_object& o) {
        prior::read_settings(o, g);
        if (g.ppca.rank > features)
            o.fail("rank", "is " + std::to_string(g.ppca.rank) + ", expected at most " + std::to_string(features) +
                               ", the number of features");
        if (!mask && g.mmps.precondition) o.fail("posterior.precondition", "a preconditioner needs a mask");
        try {
            diffusion::check_sampling(g.sampling);
        } catch (const value_error& e) {
            o.fail("sampler", e.what());
        }
    });
    if (g.start_variance == 0) g.start_variance = data.start_variance;

    auto& em = s.em;
    em.refresh.rank = g.ppca.rank;
    g.seed = em.seed;
    if (c.contains("network")) support::read_network(c, "network", s.network.emplace(nn::mlp_config{}));
    const bool has_em = c.object("em", [&](io::config_object& o) {
        prior::read_settings(o, em, data.items);
        if (em.mmps.precondition) o.fail("posterior.precondition", "is for Gaussian priors only");
    });
    if (has_em && !s.network) c.fail("em", "there is no \"network\" to train");
    if (s.network) {
        try {
            prior::check_em(em);
            prior::check_mixture(em.mixture, features, prior::observations_in_lap(em, data.items), g.basis);
        } catch (const value_error& e) {
            c.fail("em", e.what());
        }
        try {
            const model::any_network<reference_backend<float>> net(*s.network);
            if (net.features() != features)
                c.fail("network", "is for " + std::to_string(net.features()) + " features, the operator takes " +
                                      std::to_string(features));
            // Weights, their average, gradient and moments.
            support::check_memory("its " + std::to_string(net.parameters().size()) + " parameters: training",
                                  20.0 * static_cast<double>(net.parameters().size()), "a smaller network needs less");
        } catch (const shape_error& e) {  // sizes that do not fit together, or cannot be counted
            c.fail("network", e.what());
        } catch (const value_error& e) {
            c.fail("network", e.what());
        } catch (const memory_error& e) {
            c.fail("network", e.what());
        }
    }
    c.optional("pictures", s.pictures).at_least(1).at_most(1024);
    s.image = data.image;
    auto& a = em.training.augmentation;
    if (data.image) {
        a.height = data.image->height;
        a.width = data.image->width;
        a.channels = data.image->channels;
        g.height = a.height;
        g.width = a.width;
        g.channels = a.channels;
    }
    if (g.basis != prior::gaussian_basis::values) {
        if (!data.image) c.fail("gaussian.basis", "needs \"image\"");
        if (g.e_step == prior::gaussian_e_step::moments)
            c.fail("gaussian.e_step", "\"moments\" need the basis \"values\"");
        prior::suit_basis(g);
    }
    if (a.any() && !data.image) c.fail("em.training.augmentation", "needs \"image\"");
}

}  // namespace

fit_settings read_settings(const io::config_source& source, const fs::path& folder,
                           const std::function<data_facts(fit_settings&)>& load) {
    fit_settings s;
    s.config = source.value;
    io::read_config(source, [&](io::config_object& c) {
        read_sources(c, s, source.where, folder);
        read_stages(c, s, load(s));
    });
    return s;
}

}  // namespace program
