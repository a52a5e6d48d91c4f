// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>
#include <variant>

#include <diem/prior/files.hpp>

#include "prior.hpp"

namespace python {

using namespace diem;
namespace fs = std::filesystem;
using namespace nb::literals;

namespace {

/// x, sigma (one, or one for each item) and the result of `denoise` and `vjp`, and what is called for them without the GIL.
using noise = std::variant<double, floats>;
template <class F>
void at_level(prior_type& p, const floats& x, const noise& sigma, const target& result, const F& f) {
    in at = batch_of(x, "x", p.features());
    check_value("out", result.data() != x.data(), "is x itself");
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(p.busy);
    const double scale = p.scale();
    std::vector<float> own, levels;
    if (scale != 1) {
        own.assign(at.data(), at.data() + at.size());
        multiply(own.data(), at.size(), 1 / scale);
        at = in(own.data(), at.features(), at.items());
    }
    if (const auto* each = std::get_if<floats>(&sigma)) {
        check_size("sigma", "number of values", static_cast<index_t>(each->size()), at.items());
        levels.assign(each->data(), each->data() + each->size());
        multiply(levels.data(), at.items(), 1 / scale);
        f(at, diffusion::noise_level<backend>(const_vector_t<backend>(levels.data(), at.items())), scale);
    } else {
        f(at, diffusion::noise_level<backend>(std::get<double>(sigma) / scale), scale);
    }
}
void denoise(prior_type& p, const floats& x, const noise& sigma, const target& result) {
    at_level(p, x, sigma, result, [&](in at, const auto& level, double scale) {
        p.prior.denoise(*p.b, at, level, out(result.data(), at.features(), at.items()));
        multiply(result.data(), at.size(), scale);
    });
}
void vjp(prior_type& p, const floats& x, const noise& sigma, const floats& v, const target& result) {
    const in left = batch_of(v, "v", p.features());
    at_level(p, x, sigma, result, [&](in at, const auto& level, double /*scale*/) {
        check_size("v", "items", left.items(), at.items());
        const auto l = p.prior.linearize(*p.b, at, level);
        l.jacobian().apply_adjoint(*p.b, left, out(result.data(), at.features(), at.items()));
    });
}

template <class M>
void sample(M& model, const std::string& config, std::uint64_t seed, watcher::told progress, const target& result) {
    watcher watch(std::move(progress));
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(model.busy);
    const auto how = model.options({io::json::parse(config), "diem.sample"});
    const out x(result.data(), model.features(), static_cast<index_t>(result.shape(0)));
    for (index_t done = 0; done < x.items() && !watch.cancel;) {
        const out part = x.item_range(done, std::min(model.batch(how, x.items()), x.items() - done));
        model.draw(how, random_key{.seed = seed}.skip_items(static_cast<std::uint32_t>(done)), part);
        done += part.items();
        watch.tell("samples", 0, done, x.items(), 0);
    }
    watch.rethrow();
    multiply(x.data(), x.size(), model.scale());
}

/// Samples in the array that `make` returns for their shape; what came of them, as JSON.
template <class M>
std::string posterior(M& model, const problem& given, std::optional<index_t> samples, std::uint64_t seed,
                      watcher::told progress, const std::function<target(shape_type)>& make) {
    const std::string where = "diem.posterior";
    watcher watch(std::move(progress));
    target result;
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(model.busy);
    auto how = model.options({given.config, where});
    auto d = program::describe(given.config.at("operator"), "operator", {});
    if (given.config.contains("layout"))
        d.order = program::layout_of(given.config.at("layout").template get<std::string>(), "layout");
    auto sigma = program::sigma_source::of(given.config.at("sigma_y"), where, {});
    auto m = given.measure(*model.b, d, sigma, {});
    check_size("operator", "values that it takes", m.features(), model.features());
    program::rescale(*model.b, m, sigma, model.scale());
    const index_t n = m.items(), count = samples.value_or(1);
    check_value(where, count > 0 && count <= program::most_items / n, "samples is out of range");
    how.sampling.samples_per_observation = count;
    watch.warn(program::unseen(m, false));

    auto shape = model.shape(m.image);
    const bool complex = given.is_complex() && shape.size() == 3 && shape.back() == 2;
    shape.insert(shape.begin(), n);
    if (samples) shape.insert(shape.begin(), count);
    watch.with_python([&] { return result = make(shape), true; });
    watch.rethrow();
    const out x(result.data(), model.features(), n * count);
    posterior::sample_state state;
    const bool exact = model.draw_posterior(m, how, seed, x, state, [&](const posterior::sample_state& s) {
        return watch.tell("posterior samples", 0, s.done, x.items(), s.data_residual());
    });
    watch.rethrow();
    const auto fit = program::fit_of(*model.b, m, in(x));
    multiply(x.data(), x.size(), model.scale());
    watch.warn(warnings_of(fit, x.items()));
    auto told = facts_of(fit, state);
    told.update({{"exact", exact}, {"complex", complex}});
    return text_of(told);
}

void mean(const prior_type& p, const target& result) {
    std::copy_n(p.prior.mean().data(), p.features(), result.data());
    multiply(result.data(), p.features(), p.scale());
}
std::string facts(const prior_type& p) {
    auto told = facts_of(p.prior);
    told.update({{"shape", p.shape()}, {"status", p.status}, {"report", p.report}});
    return text_of(told);
}
void set_notes(prior_type& p, const std::string& notes) {
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(p.busy);
    p.prior.notes = io::json::parse(notes);
}
void save(prior_type& p, const fs::path& file) {
    const nb::gil_scoped_release free;
    const std::scoped_lock lock(p.busy);
    prior::save(file, *p.b, p.prior);
}
prior_type* load(const fs::path& file, int threads) {
    auto b = std::make_unique<backend>(threads);
    std::string note;
    auto prior = prior::load<backend, program::network_type<backend>>(file, *b, &note);
    if (!note.empty()) watcher(nullptr).warn({note});
    return new prior_type{std::move(b), std::move(prior)};
}

/// What both kinds have.
template <class M>
nb::class_<M> bind_drawing(nb::module_& m, const char* name) {
    return nb::class_<M>(m, name)
        .def("sample", &sample<M>, "config"_a, "seed"_a, "progress"_a.none(), "out"_a)
        .def("posterior", &posterior<M>, "problem"_a, "samples"_a.none(), "seed"_a, "progress"_a.none(), "make"_a);
}

}  // namespace

draw_options prior_type::options(const io::config_source& config) const {
    return prior.sample_options(*b, read_drawing(config, prior.drawing));
}
void prior_type::draw(const draw_options& how, const random_key& key, out x) {
    program::network_stage<backend>::draw(*b, prior, how.sampling, key, x);
}
bool prior_type::draw_posterior(const program::measured<backend>& m, const draw_options& how, std::uint64_t seed, out x,
                                posterior::sample_state& state, const go_on_function& go_on) {
    program::draw_posterior(*b, prior, m, how, seed, x, state, go_on);
    return !prior.has_network();
}

model_type::model_type(denoiser denoise, product vjp, shape_type shape, int threads)
    : item(std::move(shape)), b(std::make_unique<backend>(threads)),
      model(
          io::element_count(item),
          [f = std::move(denoise), s = item](backend&, in x, double sigma, out x_hat) {
              const nb::gil_scoped_acquire gil;
              take(f(view_of(x, s), sigma), "denoise", x_hat);
          },
          [f = std::move(vjp), s = item](backend&, in x, double sigma, in v, out w) {
              const nb::gil_scoped_acquire gil;
              take(f(view_of(x, s), sigma, view_of(v, s)), "vjp", w);
          }) {}
draw_options model_type::options(const io::config_source& config) const {
    const auto drawing = read_drawing(config, {});
    draw_options how;
    how.sampling = drawing.sampling;
    how.mmps = drawing.mmps;
    return how;
}
void model_type::draw(const draw_options& how, const random_key& key, out x) { python::draw(*b, model, how, key, x); }
bool model_type::draw_posterior(const program::measured<backend>& m, const draw_options& how, std::uint64_t seed, out x,
                                posterior::sample_state& state, const go_on_function& go_on) {
    python::draw_posterior(*b, model, m, how, {.seed = seed}, x, state, go_on);
    return false;
}

void bind_priors(nb::module_& m) {
    bind_drawing<prior_type>(m, "Prior")
        .def("save", &save, "path"_a)
        .def("denoise", &denoise, "x"_a, "sigma"_a, "out"_a)
        .def("vjp", &vjp, "x"_a, "sigma"_a, "v"_a, "out"_a)
        .def("mean", &mean, "out"_a)
        .def("facts", &facts)
        .def("set_notes", &set_notes, "notes"_a);
    bind_drawing<model_type>(m, "Model")
        .def(nb::init<model_type::denoiser, model_type::product, shape_type, int>(), "denoise"_a, "vjp"_a, "shape"_a,
             "threads"_a);
    m.def("load", &load, "path"_a, "threads"_a);
}

}  // namespace python
