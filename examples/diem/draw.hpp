// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <iostream>
#include <string>

#include <diem/io/png.hpp>

#include "diem/commands.hpp"
#include "diem/prior_file.hpp"
#include "support/report.hpp"

namespace program {

using namespace diem;

/// The checkpoint with what the command line says instead of it.
template <Backend B>
loaded_prior<B> open(B& b, const draw_command& o) {
    auto p = load_prior(b, o.checkpoint);
    if (!o.image.empty()) p.config.image = support::image_shape{o.image[0], o.image[1], o.image[2]};
    check_image(p.config.image, p.features(), "the prior of " + o.checkpoint.string() + " has ");
    auto& sampling = p.config.em.sampling;
    if (o.steps) sampling.steps = *o.steps;
    if (o.batch) sampling.batch = *o.batch;
    return p;
}

template <Backend B>
int sample(B& b, const sample_command& o) {
    auto p = open(b, o);
    batch<B> x(b, p.features(), o.count);
    if (p.model)
        network_stage<B>::draw(b, *p.model, p.mean(), p.config.em.sampling, o.seed, x.view(), "samples");
    else
        p.estimate->sample(b, {.seed = o.seed, .lane = random_lane::prior_sample}, x.view());
    make_folder(o.out);
    save_items(b, o.out / "samples.npy", x.cview(), p.config.image);
    if (const auto& image = p.config.image) {
        const index_t shown = std::min<index_t>(o.count, 64);
        io::save_png(o.out / "samples.png", support::picture_row(b, x.cview().item_range(0, shown), *image,
                                                                 scale_of(*image), {}, std::min<index_t>(shown, 16)));
    }
    std::cout << o.count << " samples of the " << (p.model ? "diffusion" : "Gaussian")
              << " prior: " << (o.out / "samples.npy").string() << ' '
              << io::to_string(shape_of(o.count, p.features(), p.config.image)) << '\n';
    return 0;
}

template <Backend B>
int posterior(B& b, const posterior_command& o) {
    auto p = open(b, o);
    const auto m =
        load_measured(b, o.observations, load_description(o.description), sigma_source::of(o.sigma_y), p.config.image);
    if (m.features() != p.features())
        throw shape_error(o.description.string() + ": the operator takes " + std::to_string(m.features()) +
                          " values, the prior of " + o.checkpoint.string() + " has " + std::to_string(p.features()));
    auto sampling = p.config.em.sampling;
    sampling.samples_per_observation = o.samples;
    posterior_draws<B> draws{batch<B>(b, m.features(), m.items() * o.samples), {}};
    const bool exact = !p.model && gaussian_stage<B>::draw_masked(b, *p.estimate, m, o.seed, draws.x.view());
    if (!exact)
        draws = network_stage<B>::draw_posterior(b, p.model ? &*p.model : nullptr, p.estimate ? &*p.estimate : nullptr,
                                                 p.mean(), m, p.mmps, sampling, o.seed);
    const auto mean = support::mean_of_samples(b, draws.x.cview(), m.items());

    // Samples of one observation stand together in the file.
    const auto values = to_host(b, draws.x);
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
        const auto row = [&](const_view_t<B> x) {
            return support::picture_row(b, x.item_range(0, shown), *m.image, scale);
        };
        save_observed(b, o.out / "observed.png", m, shown);
        io::save_png(o.out / "samples.png", row(draws.x.cview()));
        io::save_png(o.out / "mean.png", row(mean.cview()));
    }
    std::cout << o.samples << " posterior samples of each of " << m.items()
              << " observations: " << (o.out / "samples.npy").string() << ' ' << io::to_string(grouped.shape)
              << ", mean.npy\n";
    const auto& d = draws.diagnostics;
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
