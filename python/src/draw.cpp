// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <utility>

#include <diem/io/config.hpp>
#include <diem/prior/files.hpp>

#include "prior.hpp"
#include "support/residual.hpp"

namespace python {

using namespace diem;

namespace {

/// A copy in units of `scale`, and where the numbers are then: where they were, for a scale of 1.
in scaled(in x, double scale, std::vector<float>& copy) {
    if (scale == 1) return x;
    copy.assign(x.data(), x.data() + x.size());
    multiply(copy.data(), x.size(), 1 / scale);
    return {copy.data(), x.features(), x.items()};
}

/// x, sigma and the result of `denoise` and `vjp`, and what is called for them without the GIL.
template <class F>
float_target at_level(prior_type& p, nb::handle x, nb::handle sigma, nb::handle given, const F& f) {
    const floats values = as_floats(x, "x");
    const in at = batch_of(values, "x", p.prior.features());
    const auto result = result_array(shape_of(values), given);
    check_value("out", result.data() != values.data(), "is x itself");
    const double scale = p.scale();
    std::vector<float> own_x, own_sigma;
    double common = 0;
    if (nb::hasattr(sigma, "__len__") &&
        !(nb::hasattr(sigma, "shape") && nb::len(nb::object(sigma.attr("shape"))) == 0)) {
        const floats levels = as_floats(sigma, "sigma");
        check_size("sigma", "number of values", static_cast<index_t>(levels.size()), at.items());
        own_sigma.assign(levels.data(), levels.data() + levels.size());
    } else {
        common = nb::cast<double>(nb::float_(sigma)) / scale;
        check_value("sigma", common >= 0 && std::isfinite(common), "expected finite numbers, at least 0");
    }
    for (float& s : own_sigma) {
        check_value("sigma", s >= 0 && std::isfinite(s), "expected finite numbers, at least 0");
        s = static_cast<float>(static_cast<double>(s) / scale);
    }
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(p.busy);
    const out to(result.data(), at.features(), at.items());
    const diffusion::noise_level<backend> level = own_sigma.empty()
                                                      ? diffusion::noise_level<backend>(common)
                                                      : diffusion::noise_level<backend>(const_vector_t<backend>(
                                                            own_sigma.data(), static_cast<index_t>(own_sigma.size())));
    f(scaled(at, scale, own_x), level, to, scale);
    return result;
}

void read_drawing(const io::json& config, const std::string& where, prior::drawing_options& drawing) {
    io::read_config({config, where}, [&](io::config_object& c) {
        for (const char* key : {"operator", "sigma_y", "layout"}) c.ignore(key);
        prior::read_settings(c, drawing);
    });
}

/// What `sample` and `posterior` need of either kind of model.
struct source {
    backend& b;
    std::recursive_mutex& busy;
    index_t features;
    image im;
    shape_type item;
    double scale;
    posterior::sample_options<backend> how;
    prior_type* learned;
    own_model* own;

    source(prior_type& p, const io::json& config, const std::string& where)
        : b(*p.b), busy(p.busy), features(p.prior.features()), im(program::image_of(p.prior)), item{}, scale(p.scale()),
          learned(&p), own(nullptr) {
        auto drawing = p.prior.drawing;
        read_drawing(config, where, drawing);
        const nb::gil_scoped_release free;  // who has the lock may be waiting for the GIL
        const std::scoped_lock lock(busy);
        how = p.prior.sample_options(b, drawing);
    }
    source(model_type& m, const io::json& config, const std::string& where)
        : b(*m.b), busy(m.busy), features(m.model.features()), item(m.item), scale(1), learned(nullptr), own(&m.model) {
        prior::drawing_options drawing;
        read_drawing(config, where, drawing);
        how.sampling = drawing.sampling;
        how.mmps = drawing.mmps;
    }
    static source of(nb::handle model, const io::json& config, const std::string& where) {
        if (nb::isinstance<model_type>(model)) return {nb::cast<model_type&>(model), config, where};
        if (!nb::isinstance<prior_type>(model))
            throw nb::type_error((where + ": expected a diem.Prior or a diem.Model").c_str());
        return {nb::cast<prior_type&>(model), config, where};
    }
    [[nodiscard]] shape_type shape(index_t items) const {
        if (item.empty()) return items_of(items, features, im);
        shape_type all{items};
        all.insert(all.end(), item.begin(), item.end());
        return all;
    }
};

}  // namespace

float_target denoise(prior_type& p, nb::handle x, nb::handle sigma, nb::handle given) {
    return at_level(p, x, sigma, given, [&](in at, const auto& level, out to, double scale) {
        p.prior.denoise(*p.b, at, level, to);
        multiply(to.data(), to.size(), scale);
    });
}
float_target vjp(prior_type& p, nb::handle x, nb::handle sigma, nb::handle v, nb::handle given) {
    const floats values = as_floats(v, "v");
    const in left = batch_of(values, "v", p.prior.features());
    return at_level(p, x, sigma, given, [&](in at, const auto& level, out to, double /*scale*/) {
        check_size("v", "items", left.items(), at.items());
        const auto l = p.prior.linearize(*p.b, at, level);
        l.jacobian().apply_adjoint(*p.b, left, to);
    });
}

model_type::model_type(nb::object denoise, nb::object vjp, shape_type shape, int threads)
    : item(std::move(shape)), b(std::make_unique<backend>(threads)),
      model(
          io::element_count(item),
          [f = hold(std::move(denoise)), s = item](backend&, in x, double sigma, out x_hat) {
              const nb::gil_scoped_acquire gil;
              take((*f)(view_of(x, s), sigma), "denoise", x_hat);
          },
          [f = hold(std::move(vjp)), s = item](backend&, in x, double sigma, in v, out w) {
              const nb::gil_scoped_acquire gil;
              take((*f)(view_of(x, s), sigma, view_of(v, s)), "vjp", w);
          }) {}

float_target sample(nb::handle model, index_t count, nb::handle config, std::uint64_t seed, nb::handle progress,
                    nb::handle given) {
    const described options(config);
    check_value("diem.sample", count > 0 && count <= program::most_items, "n is out of range");
    auto from = source::of(model, options.json(), "diem.sample");
    const auto result = result_array(from.shape(count), given);
    watcher watch(progress);
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(from.busy);
    const out x(result.data(), from.features, count);
    const bool closed = from.learned != nullptr && !from.learned->prior.has_network();
    const index_t each = closed ? count : from.how.sampling.batch;
    for (index_t done = 0; done < count && !watch.cancel;) {
        const out part = x.item_range(done, std::min(each, count - done));
        const random_key key = random_key{.seed = seed}.skip_items(static_cast<std::uint32_t>(done));
        if (from.own != nullptr)
            draw(from.b, *from.own, from.how, key, part);
        else
            program::network_stage<backend>::draw(from.b, from.learned->prior, from.how.sampling, key, part);
        done += part.items();
        watch.tell("samples", 0, done, count, 0);
    }
    watch.rethrow();
    multiply(result.data(), x.size(), from.scale);
    return result;
}

nb::tuple posterior(nb::handle model, nb::handle y, nb::handle op, nb::handle config, std::optional<index_t> samples,
                    std::uint64_t seed, nb::handle progress, nb::handle given) {
    const std::string where = "diem.posterior";
    const described options(config);
    const auto& json = options.json();
    auto from = source::of(model, json, where);
    const floats values = as_floats(y, "y");
    const in at = batch_of(values, "y");
    auto own = own_operator(op, shape_of(values));
    const index_t n = at.items(), count = samples.value_or(1);
    check_value(where, count > 0 && count <= program::most_items / n, "samples is out of range");
    watcher watch(progress);
    std::optional<program::measured<backend>> measured;
    {
        const nb::gil_scoped_release free;
        const std::scoped_lock lock(from.busy);
        program::operator_description d;
        if (own)
            d.type = d.where = "operator";
        else
            d = json.at("operator").is_string() ? program::load_description(json.at("operator").get<std::string>())
                                                : program::describe(json.at("operator"), "operator", {});
        if (json.contains("layout")) d.order = program::layout_of(json.at("layout").get<std::string>(), "layout");
        auto sigma = program::sigma_source::of(json.at("sigma_y"), where, {});
        d.read = sigma.read = options.reader();
        measured = program::measure<backend>(from.b, {shape_of(values), {values.data(), values.size()}}, "y", d, sigma,
                                             {}, std::move(own), at);
        check_size("operator", "values that it takes", measured->features(), from.features);
        program::rescale(from.b, *measured, sigma, from.scale);
    }
    const auto& m = *measured;
    warn(program::unseen(m, false));
    if (!from.im) from.im = m.image;
    auto shape = from.shape(n);
    if (samples) shape.insert(shape.begin(), count);
    const auto result = result_array(shape, given);
    const out x(result.data(), from.features, n * count);
    posterior::sample_state state;
    program::data_fit fit;
    bool exact = false;
    {
        const nb::gil_scoped_release free;
        const std::scoped_lock lock(from.busy);
        auto how = from.how;
        how.sampling.samples_per_observation = count;
        const auto go_on = [&](const posterior::sample_state& s) {
            return watch.tell("posterior samples", 0, s.done, x.items(), s.data_residual());
        };
        const random_key key{.seed = seed};
        if (from.own != nullptr) {
            draw_posterior(from.b, *from.own, m, how, key, x, state, go_on);
        } else {
            auto& prior = from.learned->prior;
            exact = !prior.has_network() &&
                    program::gaussian_stage<backend>::draw_masked(from.b, *prior.estimate(), m, seed, x);
            if (!exact) program::network_stage<backend>::draw_posterior(from.b, prior, m, how, key, x, state, go_on);
        }
        watch.rethrow();
        fit = program::fit_of(from.b, m, in(x));
        multiply(result.data(), x.size(), from.scale);
    }
    const double share = m.share;
    const double ratio = fit.residual / share;
    io::json shares = io::json::object();
    for (std::size_t k = 0; k < solver::solver_statuses; ++k) {
        const auto s = static_cast<solver::solver_status>(k);
        shares[std::string(solver::to_string(s))] = state.share(s);
    }
    if (fit.non_finite > 0)
        warn({std::to_string(fit.non_finite) + " of " + std::to_string(n * count) + " samples are not finite"});
    if (!(ratio <= support::poor_residual))
        warn({"data residual " + support::number(fit.residual) + " (near " + support::number(share) +
              " where samples fit the data): " + support::verdict_of(ratio) +
              "; are operator, sigma_y and prior those of these observations?"});
    return nb::make_tuple(result, to_python({{"data_residual", fit.residual},
                                             {"observed_share", share},
                                             {"verdict", support::verdict_of(ratio)},
                                             {"non_finite", fit.non_finite},
                                             {"exact", exact},
                                             {"solver", shares},
                                             {"seconds", state.seconds}}));
}

io::json drawing_of(const prior_type& p) { return prior::settings_json(p.prior.drawing); }

}  // namespace python
