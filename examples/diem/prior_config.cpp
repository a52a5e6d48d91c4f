// SPDX-License-Identifier: Apache-2.0
#include "diem/prior_config.hpp"

#include <variant>
#include <vector>

#include <diem/io/config.hpp>

#include "support/em_settings.hpp"

namespace program {

using namespace diem;

posterior::mmps_options gaussian_mmps() { return {.max_iterations = 256, .relative_tolerance = 1e-3}; }

io::json to_json(const prior_config& c) {
    io::json j{{"program", "diem"},
               {"network", nullptr},
               {"image", nullptr},
               {"sampler", support::sampler_json(c.em.sampling)},
               {"posterior", support::posterior_json(c.em.mmps)},
               {"switch_factor", c.em.switch_factor},
               {"seed", c.em.seed}};
    if (c.network) j["network"] = model::to_json(*c.network);
    if (c.image) j["image"] = {c.image->height, c.image->width, c.image->channels};
    return j;
}

prior_config config_from(const io::json& value, const std::string& where) {
    prior_config c;
    if (value.is_object() && value.contains("type")) {
        c.network = model::parse_network(value);
        if (const auto* unet = std::get_if<nn::unet_config>(&*c.network))
            c.image = support::image_shape{unet->height, unet->width, unet->channels};
        return c;
    }
    if (!value.is_object() || !value.contains("network"))
        throw config_error(where + ": the checkpoint does not say how its network is built");
    const io::config_source source{value, where + " (config)"};
    io::read_config(source, [&](io::config_object& o) {
        std::string program;
        o.required("program", program);
        if (!value.at("network").is_null()) support::read_network(o, "network", c.network.emplace(nn::mlp_config{}));
        o.ignore("network");
        std::optional<std::vector<index_t>> image;
        o.optional("image", image);
        if (image && image->size() != 3) o.fail("image", "expected [height, width, channels]");
        if (image) c.image = support::image_shape{(*image)[0], (*image)[1], (*image)[2]};
        support::read_sampler(o, "sampler", c.em.sampling);
        support::read_posterior(o, "posterior", c.em.mmps);
        o.optional("switch_factor", c.em.switch_factor).at_least(0.0);
        o.optional("seed", c.em.seed);
    });
    return c;
}

}  // namespace program
