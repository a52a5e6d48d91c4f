// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <variant>

#include <diem/io/png.hpp>
#include <diem/prior/files.hpp>

#include "diem/commands.hpp"
#include "diem/stages.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace program {

using namespace diem;

/// A prior with what the command line says instead of it.
template <Backend B>
struct opened_prior {
    learned_prior<B> prior;
    std::optional<support::image_shape> image;
};
template <Backend B>
opened_prior<B> open(B& b, const draw_command& o) {
    opened_prior<B> p{prior::load<B>(o.checkpoint, b), std::nullopt};
    p.image = image_of_notes(p.prior.notes);
    if (p.prior.has_network() && !p.image) {
        const auto config = p.prior.network().net().config();
        if (const auto* unet = std::get_if<nn::unet_config>(&config))
            p.image = support::image_shape{unet->height, unet->width, unet->channels};
    }
    if (!o.image.empty()) p.image = support::image_shape{o.image[0], o.image[1], o.image[2]};
    check_image(p.image, p.prior.features(), "the prior of " + o.checkpoint.string() + " has ");
    auto& sampling = p.prior.drawing.sampling;
    if (o.steps) sampling.steps = *o.steps;
    if (o.batch) sampling.batch = *o.batch;
    return p;
}

template <Backend B>
int sample(B& b, const sample_command& o) {
    auto p = open(b, o);
    batch<B> x(b, p.prior.features(), o.count);
    const random_key key{.seed = o.seed};
    const index_t each = p.prior.has_network() ? p.prior.drawing.sampling.batch : o.count;
    support::progress bar("samples", static_cast<long>(o.count));
    for (index_t first = 0; first < o.count; first += each) {
        const index_t count = std::min(each, o.count - first);
        network_stage<B>::draw(b, p.prior, key.skip_items(static_cast<std::uint32_t>(first)),
                               x.view().item_range(first, count));
        bar.update(static_cast<long>(first + count));
    }
    bar.finish();
    make_folder(o.out);
    save_items(b, o.out / "samples.npy", x.cview(), p.image);
    if (const auto& image = p.image) {
        const index_t shown = std::min<index_t>(o.count, 64);
        io::save_png(o.out / "samples.png", support::picture_row(b, x.cview().item_range(0, shown), *image,
                                                                 scale_of(*image), {}, std::min<index_t>(shown, 16)));
    }
    std::cout << o.count << " samples of the " << (p.prior.has_network() ? "diffusion" : "Gaussian")
              << " prior: " << (o.out / "samples.npy").string() << ' '
              << io::to_string(shape_of(o.count, p.prior.features(), p.image)) << '\n';
    return 0;
}

template <Backend B>
int posterior(B& b, const posterior_command& o) {
    auto p = open(b, o);
    const auto m =
        load_measured(b, o.observations, load_description(o.description), sigma_source::of(o.sigma_y), p.image);
    if (m.features() != p.prior.features())
        throw shape_error(o.description.string() + ": the operator takes " + std::to_string(m.features()) +
                          " values, the prior of " + o.checkpoint.string() + " has " +
                          std::to_string(p.prior.features()));
    auto how = p.prior.sample_options(b);
    how.sampling.samples_per_observation = o.samples;
    batch<B> x(b, m.features(), m.items() * o.samples);
    posterior::sample_state state;
    const bool exact =
        !p.prior.has_network() && gaussian_stage<B>::draw_masked(b, *p.prior.estimate(), m, o.seed, x.view());
    if (!exact) {
        support::progress bar("posterior samples", static_cast<long>(x.items()));
        network_stage<B>::draw_posterior(b, p.prior, m, how, {.seed = o.seed}, x.view(), state, [&](const auto& s) {
            bar.update(static_cast<long>(s.done));
            return true;
        });
    }
    const auto mean = support::mean_of_samples(b, x.cview(), m.items());

    // Samples of one observation stand together in the file.
    const auto values = to_host(b, x);
    const auto features = static_cast<std::size_t>(m.features());
    auto shape = shape_of(m.items(), m.features(), m.image);
    shape.insert(shape.begin() + 1, o.samples);
    io::array<float> grouped(shape);
    for (index_t s = 0; s < o.samples; ++s)
        for (index_t i = 0; i < m.items(); ++i) {
            const auto from = values.begin() + static_cast<std::ptrdiff_t>(features) * (s * m.items() + i);
            std::copy(from, from + static_cast<std::ptrdiff_t>(features),
                      grouped.data.begin() + static_cast<std::ptrdiff_t>(features) * (i * o.samples + s));
        }
    make_folder(o.out);
    io::save_npy(o.out / "samples.npy", grouped);
    save_items(b, o.out / "mean.npy", mean.cview(), m.image);
    if (m.image) {
        const index_t shown = std::min<index_t>(m.items(), 16), scale = scale_of(*m.image);
        const auto row = [&](const_view_t<B> images) {
            return support::picture_row(b, images.item_range(0, shown), *m.image, scale);
        };
        save_observed(b, o.out / "observed.png", m, shown);
        io::save_png(o.out / "samples.png", row(x.cview()));
        io::save_png(o.out / "mean.png", row(mean.cview()));
    }
    std::cout << o.samples << " posterior samples of each of " << m.items()
              << " observations: " << (o.out / "samples.npy").string() << ' ' << io::to_string(grouped.shape)
              << ", mean.npy\n";
    const auto d = prior::diagnostics_of(state);
    if (exact)
        std::cout << "exact draws, by the closed form of a Gaussian prior and a mask\n";
    else
        std::cout << "data residual " << support::number(d.data_residual) << " (near " << support::number(m.share)
                  << " where samples fit the data); solver: " << support::number(100 * d.solver_shares[0], 1)
                  << " % converged, " << support::number(100 * d.solver_shares[1], 1)
                  << " % at the limit of iterations, "
                  << support::number(100 * (d.solver_shares[2] + d.solver_shares[3]), 1) << " % broke down\n";
    return 0;
}

}  // namespace program
