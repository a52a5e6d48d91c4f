// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/io/png.hpp>
#include <diem/prior/at_size.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/settings.hpp>

#include "diem/commands.hpp"
#include "diem/outputs.hpp"
#include "diem/posterior_report.hpp"
#include "diem/results.hpp"
#include "diem/stages.hpp"
#include "support/interrupt.hpp"
#include "support/memory.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

/// A prior with what the command line says instead of it.
template <Backend B>
struct opened_prior {
    learned_prior<B> prior;
    std::optional<support::image_shape> image;
    bool preconditioned = false;  ///< it was learned with a preconditioner, which is not used here
    double scale = 1;             ///< the user's x is that of the prior times this
};
/// --image: the shape of the prior's items, or another size, to which a U-Net of convolutions is brought. Throws value_error.
template <Backend B>
void bring_to(B& b, opened_prior<B>& p, const draw_command& o) {
    const support::image_shape own = p.image.value_or(support::image_shape{}), to{o.image[0], o.image[1], o.image[2]};
    p.image = to;
    const bool fits = to.height * to.width * to.channels == p.prior.features();
    if (fits || !p.prior.has_network() || own.channels != to.channels) return;  // checked by the caller
    const auto size = [](const support::image_shape& s) {
        return std::to_string(s.height) + " x " + std::to_string(s.width);
    };
    try {
        p.prior = prior::at_size(b, p.prior, to.height, to.width);
    } catch (const value_error& e) {
        throw value_error("--image: the prior of " + o.checkpoint.string() + " has " + size(own) + ", not " + size(to) +
                          "; " + e.what());
    }
    std::cerr << "diem: note: a prior of " << size(own) << " is used on images of " << size(to) << '\n';
}
template <Backend B>
opened_prior<B> open(B& b, const draw_command& o) {
    std::string note;
    opened_prior<B> p{prior::load<B, network_type<B>>(o.checkpoint, b, &note), std::nullopt};
    if (!note.empty()) std::cerr << "diem: note: " << note << '\n';
    p.image = image_of(p.prior);
    p.scale = scale_of_notes(p.prior.notes);
    if (!o.image.empty()) bring_to(b, p, o);
    check_image(p.image, p.prior.features(), "the prior of " + o.checkpoint.string() + " has ");
    if (o.label) p.prior.set_labels({*o.label});
    // Of a network it needs a mask that is known when the program is compiled, as in examples/demo.
    bool& precondition = p.prior.drawing.mmps.precondition;
    p.preconditioned = p.prior.has_network() && std::exchange(precondition, false);
    if (!o.changes.empty()) {
        io::config_source how{prior::settings_json(p.prior.drawing), "--set"};
        for (const auto& change : o.changes) io::set_entry(how, change);
        io::read_config(how, [&](io::config_object& c) { prior::read_settings(c, p.prior.drawing); });
        if (p.prior.has_network() && precondition)
            throw value_error("--set: \"posterior.precondition\": is for Gaussian priors only");
    }
    auto& sampling = p.prior.drawing.sampling;
    if (o.steps) sampling.steps = *o.steps;
    if (o.batch) sampling.batch = *o.batch;
    return p;
}

/// Throws value_error where samples are no numbers.
inline void check_finite(index_t non_finite, index_t all, const path& checkpoint) {
    if (non_finite > 0)
        throw value_error(checkpoint.string() + ": " + std::to_string(non_finite) + " of " + std::to_string(all) +
                          " samples are not finite; nothing is written");
}
/// After a signal: what was saved, and the exit status.
inline int stopped(const std::string& what, const path& file) {
    std::cerr << "diem: stopped by a signal; " << (file.empty() ? "nothing" : file.string() + " holds " + what)
              << (file.empty() ? " was drawn yet" : "") << '\n';
    return support::interrupt_status();
}

template <Backend B>
int sample(B& b, const sample_command& o) {
    outputs files("--out", o.out);
    files.reads("the checkpoint", o.checkpoint).writes({"samples.npy"});
    auto p = open(b, o);
    if (has_picture(p.image)) files.writes({"samples.png"});
    const auto features = p.prior.features();
    support::check_memory("--count " + std::to_string(o.count) + ", of " + std::to_string(features) + " values each,",
                          8.0 * static_cast<double>(o.count) * static_cast<double>(features),
                          "fewer samples need less");
    files.prepare();
    support::catch_interrupts();
    batch<B> all(b, features, o.count);
    const random_key key{.seed = o.seed};
    const index_t each = p.prior.has_network() ? p.prior.drawing.sampling.batch : o.count;
    index_t done = 0;
    support::progress bar("samples", static_cast<long>(o.count));
    while (done < o.count && !support::interrupted()) {
        const index_t count = std::min(each, o.count - done);
        if (!network_stage<B>::draw(b, p.prior, p.prior.drawing.sampling,
                                    key.skip_items(static_cast<std::uint32_t>(done)),
                                    all.view().item_range(done, count), &support::cancel_flag()))
            break;  // by a signal
        done += count;
        bar.update(static_cast<long>(done));
    }
    bar.finish();
    if (done == 0) return stopped("", "");
    const view_t<B> x = all.view().item_range(0, done);
    auto values = to_host(b, x);
    index_t non_finite = 0;
    for (index_t i = 0; i < done; ++i) {
        const auto* item = values.data() + i * features;
        non_finite += std::all_of(item, item + features, [](float v) { return std::isfinite(v); }) ? 0 : 1;
    }
    check_finite(non_finite, done, o.checkpoint);
    for (float& v : values) v = static_cast<float>(static_cast<double>(v) * p.scale);
    const auto shape = shape_of(done, features, p.image);
    io::save_npy(o.out / "samples.npy", shape, std::span<const float>(values));
    if (has_picture(p.image)) {
        const index_t shown = fitting(*p.image, std::min<index_t>(done, 64));
        const const_view_t<B> part = x.item_range(0, shown);
        io::save_png(o.out / "samples.png", picture_of(b, part, *p.image, false, {}, std::min<index_t>(shown, 16)));
    }
    const char* const kind = p.prior.has_network() ? "diffusion" : "Gaussian";
    std::cout << done << " samples of the " << kind << " prior: " << (o.out / "samples.npy").string() << ' '
              << io::to_string(shape) << '\n';
    support::tell({{"program", "diem sample"},
                   {"samples", (o.out / "samples.npy").string()},
                   {"shape", shape},
                   {"prior", kind},
                   {"seed", o.seed},
                   {"complete", done == o.count}});
    if (done == o.count) return 0;
    return stopped(std::to_string(done) + " of " + std::to_string(o.count) + " samples", o.out / "samples.npy");
}

/// The first observations, samples, means and deviations as pictures; the results are those of `m.scale` times the prior's units.
template <Backend B>
void save_pictures(B& b, const path& out, const measured<B>& m, const posterior_results& r, index_t items,
                   index_t count) {
    const index_t shown = fitting(*m.image, std::min<index_t>(items, 16)), d = m.features();
    save_observed(b, out / "observed.png", m, shown);
    const auto row = [&](const char* name, const std::vector<float>& values, const support::image_shape& image) {
        const auto x = to_backend(b, values, image.height * image.width * image.channels, shown);
        io::save_png(out / name, picture_of(b, x.cview(), image, true));
    };
    const auto in_units_of_prior = [&](std::vector<float> values) {
        for (float& v : values) v = static_cast<float>(static_cast<double>(v) / m.scale);
        return values;
    };
    std::vector<float> first;
    for (index_t i = 0; i < shown; ++i)
        first.insert(first.end(), r.samples().begin() + i * count * d, r.samples().begin() + (i * count + 1) * d);
    row("samples.png", in_units_of_prior(std::move(first)), *m.image);
    row("mean.png", in_units_of_prior({r.mean().begin(), r.mean().begin() + shown * d}), *m.image);
    if (r.deviation().empty()) return;
    auto image = *m.image;
    if (is_complex(m.image)) image.channels = 1;
    std::vector<float> deviation(r.deviation().begin(),
                                 r.deviation().begin() + shown * image.height * image.width * image.channels);
    const float most = *std::max_element(deviation.begin(), deviation.end());
    for (float& v : deviation) v = most > 0 ? 4 * v / most - 2 : -2;  // black: 0, white: the largest
    row("std.png", deviation, image);
}

/// --scale of observations y: "auto", where the largest value of A' y becomes 2, or a number. Throws value_error.
template <Backend B>
[[nodiscard]] double scale_for(B& b, const std::string& text, const measured<B>& m) {
    if (text != "auto") {
        double number = 0;
        const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (code != std::errc() || end != text.data() + text.size() || !(number >= 1e-15 && number <= 1e15))
            throw value_error("--scale: is \"" + text.substr(0, 40) +
                              "\", expected a number from 1e-15 to 1e15, or auto");
        return number;
    }
    float most = 0;
    for (index_t i = 0; i < m.items(); ++i) {
        batch<B> x(b, m.features(), 1);
        m.a.items(i, 1).apply_adjoint(b, m.y.item_range(i, 1), x.view());
        auto values = to_host(b, x);
        if (is_complex(m.image)) values = magnitudes_of(values);
        for (const float v : values) most = std::max(most, std::abs(v));
    }
    if (!(most > 0)) throw value_error("--scale: auto: the observations are zero");
    return static_cast<double>(most) / 2;
}

template <Backend B>
int posterior(B& b, const posterior_command& o) {
    auto description = load_description(o.description);
    if (!o.layout.empty()) description.order = layout_of(o.layout, "--layout");
    const auto sigma = sigma_source::of(o.sigma_y);
    result_files written{o.formats, description.mri && description.mri->complex, o.samples > 1};
    written.check();
    outputs files("--out", o.out);
    files.reads("the checkpoint", o.checkpoint)
        .reads("the observations", o.observations)
        .reads("--operator", o.description)
        .reads("--sigma-y", sigma.file)
        .reads(description.where, description.files())
        .writes(written.names())
        .writes({"posterior.json", "posterior.html"});
    files.check();
    auto p = open(b, o);
    auto m = [&] {
        try {
            return load_measured(b, o.observations, description, sigma, p.image);
        } catch (const shape_error& e) {
            if (!p.image || !o.image.empty()) throw;
            throw shape_error(std::string(e.what()) + " (--image brings a U-Net to another size)");
        }
    }();
    if (m.features() != p.prior.features())
        throw shape_error(o.description.string() + ": the operator takes " + std::to_string(m.features()) +
                          " values, the prior of " + o.checkpoint.string() + " has " +
                          std::to_string(p.prior.features()));
    rescale(b, m, sigma, o.scale.empty() ? p.scale : scale_for(b, o.scale, m));
    if (o.at.ranks.rank() == 0) warn(unseen(m, false));
    const double total = static_cast<double>(m.items()) * static_cast<double>(o.samples);
    support::check_memory("--samples " + std::to_string(o.samples) + " of each of " + std::to_string(m.items()) +
                              " observations, of " + std::to_string(m.features()) + " values each,",
                          12.0 * total * static_cast<double>(m.features()),
                          "fewer samples, or fewer observations at once, need less");
    if (total > static_cast<double>(most_items))
        throw value_error("--samples " + std::to_string(o.samples) + ": more than 2^32 samples in all");
    written.complex = is_complex(m.image);
    files.writes(written.names());
    if (has_picture(m.image)) files.writes({"observed.png", "samples.png", "mean.png"});
    if (has_picture(m.image) && o.samples > 1) files.writes({"std.png"});
    const auto& ranks = o.at.ranks;
    if (ranks.rank() == 0) files.prepare();
    ranks.barrier("the folder of the results");
    support::catch_interrupts();

    if (p.preconditioned)
        std::cerr << "diem: note: samples are drawn without the preconditioner that this prior was learned with\n";
    auto how = p.prior.sample_options(b);
    how.sampling.samples_per_observation = o.samples;
    how.cancel = &support::cancel_flag();
    const index_t n = m.items();
    batch<B> x(b, m.features(), n * o.samples);
    posterior::sample_state state;
    support::progress bar("posterior samples", static_cast<long>(x.items()));
    const auto go_on = [&](const auto& now) {
        bar.update(static_cast<long>(now.done));
        return !parallel::any_of(ranks, support::interrupted(), "whether to go on");
    };
    const bool exact = !p.prior.has_network();
    draw_posterior(b, p.prior, m, how, o.seed, x.view(), state, go_on, ranks);
    if (ranks.rank() != 0) return 0;
    // After a signal: whole rounds over the observations, or what there is of the first.
    const index_t done = state.done, rounds = done / n, items = rounds > 0 ? n : done,
                  count = std::max<index_t>(rounds, 1);
    if (done == 0) return stopped("", "");
    const const_view_t<B> drawn = x.cview().item_range(0, items * count);
    const auto fit = fit_of(b, m, drawn);
    check_finite(fit.non_finite, items * count, o.checkpoint);
    const posterior_results results(to_host(b, drawn), items, count, m.features(), m.image, m.scale);
    written.deviation = count > 1;
    results.save(o.out, written);
    if (has_picture(m.image)) save_pictures(b, o.out, m, results, items, count);
    const path named = o.out / written.names().front();

    const std::string residual = fit.words();
    std::cout << count << " posterior samples of each of " << items << " observations: " << named.string() << ' '
              << io::to_string(results.shape()) << " and beside it "
              << (count > 1 ? "mean and standard deviation" : "the mean") << '\n'
              << residual << '\n';
    const auto share = [&](solver::solver_status s) { return state.share(s); };
    using solver::solver_status;
    const double solves = std::accumulate(state.statuses.begin(), state.statuses.end(), 0.0);
    if (exact)
        std::cout << "draws of a Gaussian prior: no sampler, " << (solves > 0 ? "one solve each" : "a closed form")
                  << '\n';
    if (solves > 0)
        std::cout << "solver: " << support::number(100 * share(solver_status::converged), 1) << " % converged, "
                  << support::number(100 * share(solver_status::max_iterations), 1) << " % at the limit of iterations, "
                  << support::number(100 * (share(solver_status::breakdown) + share(solver_status::non_finite)), 1)
                  << " % broke down\n";
    io::json result{{"program", "diem posterior"},
                    {"samples", named.string()},
                    {"shape", results.shape()},
                    {"scale", m.scale},
                    {"seed", o.seed},
                    {"exact", exact},
                    {"samples_per_observation", count},
                    {"complete", done == x.items()}};
    result.update(fit.facts());
    support::tell(result);
    save_posterior_report(b, o, m, description.type, result, solves > 0 ? &state : nullptr);
    if (done < x.items())
        return stopped(std::to_string(items * count) + " of " + std::to_string(x.items()) + " samples", named);
    if (fit.ratio() <= support::poor_residual) return 0;
    std::cerr << "diem: " << (fit.ratio() <= support::bad_residual ? "warning: " : "") << residual
              << "; are operator, --sigma-y (" << o.sigma_y << ") and prior those of these observations?\n";
    return fit.ratio() <= support::bad_residual ? 0 : 1;
}

}  // namespace program
