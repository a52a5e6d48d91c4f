// SPDX-License-Identifier: Apache-2.0

// MMPS with a Gaussian prior, and posterior sampling, against the reference implementation and closed forms.
#include <string>
#include <utility>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using posterior::solver_choice;

namespace {

template <class B>
batch<B> load(B& b, test::golden_file& file, const std::string& name, index_t features, index_t items) {
    return to_backend(b, file.input<typename B::scalar>(name).data, features, items);
}

template <class B>
diffusion::gaussian<B> load_prior(B& b, test::golden_file& file) {
    using T = typename B::scalar;
    const auto u = file.input<T>("u");
    const index_t d = u.shape[0], r = u.shape[1];
    std::vector<T> columns(u.data.size());
    for (index_t j = 0; j < d; ++j)
        for (index_t k = 0; k < r; ++k)
            columns[static_cast<std::size_t>(k * d + j)] = u.data[static_cast<std::size_t>(j * r + k)];
    return {b, load(b, file, "mu", d, 1), load(b, file, "d", d, 1), to_backend(b, columns, d, r)};
}

/// The rows of A follow one another: the memory of the column-major A'.
template <class B>
auto load_operator(B& b, test::golden_file& file) {
    using T = typename B::scalar;
    const auto a = file.input<T>("A");
    const index_t n = a.shape[0], rows = a.shape[1], d = a.shape[2];
    return linop::adjoint(linop::dense<B>::per_item(to_backend(b, a.data, d * rows, n), d, rows));
}

}  // namespace

TEMPLATE_TEST_CASE("golden: MMPS with a Gaussian prior", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    int checked = 0;
    for (auto& file : test::golden_files("mmps_gaussian")) {
        auto prior = load_prior(b, file);
        const auto shape = file.input<T>("A").shape;
        const index_t n = shape[0], rows = shape[1], d = shape[2];
        const auto x_t = load(b, file, "x_t", d, n), y = load(b, file, "y", rows, n),
                   sigma = load(b, file, "sigma", n, 1);
        const auto observation =
            posterior::observe(b, y.view(), load_operator(b, file),
                               linop::diagonal_covariance<B>::per_item(b, load(b, file, "cov_y", rows, n)));
        batch<B> out(b, d, n);
        const diffusion::noise_level<B> level(const_vector_t<B>(sigma.view().data(), n));
        prior.denoise(b, x_t.view(), level, out.view());
        test::check_golden(file, "x_hat", to_host(b, out));
        for (const auto& [name, solver] : {std::pair{"cg", solver_choice::cg}, {"gmres", solver_choice::gmres}}) {
            posterior::mmps p(b, prior, observation,
                              {.solver = solver,
                               .max_iterations = file.config().at("iterations").template get<index_t>(),
                               .relative_tolerance = file.config().at("rtol").template get<double>()});
            p.denoise(b, x_t.view(), level, out.view());
            const std::string s = name;
            test::check_golden(file, s + "/mean", to_host(b, out));
            const auto report = p.last_solve().to_host(b);
            test::check_golden(file, s + "/updates", report.updates);
            test::check_golden(file, s + "/status", to_host(b, p.last_solve().status()));
            // Converged, so the closed form too, as far as the tolerance of the solve reaches.
            const auto exact = file.output<double>("posterior_mean");
            const auto got = to_host(b, out);
            double worst = 0;
            for (std::size_t k = 0; k < got.size(); ++k) {
                const double e = std::abs(static_cast<double>(got[k]) - exact.data[k]);
                worst = e <= worst ? worst : e;
            }
            CHECK(worst <= 1e-2);
        }
        ++checked;
    }
    CHECK(checked >= 0);
}

TEMPLATE_TEST_CASE("golden: posterior sampling", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    const auto wanted = [](const test::golden_file& f) { return f.config().at("model").at("type") == "posterior"; };
    for (auto& file : test::golden_files("samplers", wanted)) {
        auto prior = load_prior(b, file);
        const auto& config = file.config();
        const auto& model = config.at("model");
        const auto steps = config.at("steps").template get<index_t>(), n = config.at("items").template get<index_t>();
        const auto corrections = file.template input<T>("noise_pc").shape[1];
        const index_t d = prior.features();
        const auto rows = model.at("rows").template get<index_t>();
        const double sigma_y = model.at("sigma_y").template get<double>();
        const auto y = load(b, file, "y", rows, n), x_1 = load(b, file, "x_1", d, n);
        const auto step_noise = load(b, file, "noise_ddpm", d, n * steps);
        const auto pc_noise = load(b, file, "noise_pc", d, n * steps * corrections);
        posterior::mmps p(b, prior,
                          posterior::observe(b, y.view(), load_operator(b, file),
                                             linop::isotropic_covariance(rows, sigma_y * sigma_y)),
                          {.max_iterations = model.at("iterations").template get<index_t>()});
        const diffusion::ve_log_linear schedule{config.at("a").template get<double>(),
                                                config.at("b").template get<double>()};
        const diffusion::given_noise<B> noise{{}, step_noise.view(), pc_noise.view()};
        diffusion::sample_options<B> options;
        options.steps = steps;
        options.start_given = true;

        const auto check = [&](const std::string& name, const auto& scheme) {
            batch<B> x(b, d, n);
            b.copy(x_1.view(), x.view());
            std::vector<T> states = to_host(b, x_1);
            diffusion::sample(b, p, schedule, scheme, options, noise, x.view(), [&](index_t, index_t, double) {
                const auto now = to_host(b, x);
                states.insert(states.end(), now.begin(), now.end());
                return true;
            });
            test::check_golden(file, name + "/states", states);
            test::check_golden(file, name + "/final", to_host(b, x));
        };
        check("ddpm", diffusion::ddpm{});
        check("ddim", diffusion::ddim{});
        check("pc", diffusion::predictor_corrector{corrections, config.value("tau", 0.1)});
    }
    SUCCEED();
}
