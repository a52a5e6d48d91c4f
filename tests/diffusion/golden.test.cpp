// SPDX-License-Identifier: Apache-2.0
#include "support/golden.hpp"

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/diffusion/sampler.hpp>

#include <string>
#include <vector>

#include "diffusion/helpers.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

namespace {

// A row-major matrix (rows, cols) is column-major cols x rows; these make it column-major rows x cols.
template <class T>
std::vector<T> transposed(const std::vector<T>& a, index_t rows, index_t cols) {
    std::vector<T> out(a.size());
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; ++j)
            out[static_cast<std::size_t>(j * rows + i)] = a[static_cast<std::size_t>(i * cols + j)];
    return out;
}

template <Backend B>
dif::gaussian<B> read_gaussian(B& b, golden_file& file) {
    using T = scalar_t<B>;
    const auto mu = file.input<T>("mu"), d = file.input<T>("d"), u = file.input<T>("u");
    const index_t features = mu.shape[0], rank = u.shape[1];
    return {b, to_backend(b, mu.data, features, 1), to_backend(b, d.data, features, 1),
            to_backend(b, transposed(u.data, features, rank), features, rank)};
}

dif::mixture_parameters read_mixture(golden_file& file) {
    const auto mean = file.input<double>("mean");
    return {mean.shape[1], file.input<double>("weight").data, mean.data, file.input<double>("cov").data};
}

}  // namespace

TEMPLATE_TEST_CASE("golden: gaussian", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    std::vector<golden_file> files = golden_files("gaussian");
    for (auto& file : files) {
        const auto prior = read_gaussian(b, file);
        const index_t features = prior.features();
        const auto x_t = file.input<T>("x_t").data;
        const auto levels = file.input<T>("sigma").data;
        const auto items = static_cast<index_t>(levels.size());
        const auto sigma = to_backend(b, levels, items, 1);
        const auto lin = prior.linearize(b, to_backend(b, x_t, features, items), sigma.flat());
        check_golden(file, "x_hat", apply_denoise(b, prior, x_t, features, sigma.flat()));
        check_golden(file, "x_hat", to_host(b, lin.mean()));
        check_golden(file, "x_hat_dot", apply_operator(b, lin.jacobian(), file.input<T>("x_t_dot").data, features));
        check_golden(file, "x_t_bar",
                     apply_operator(b, lin.jacobian(), file.input<T>("x_hat_bar").data, features, true));
        std::vector<T> identity(static_cast<std::size_t>(features * features)), cov;
        for (index_t j = 0; j < features; ++j) identity[static_cast<std::size_t>(j * features + j)] = 1;
        for (const T level : levels) {
            const auto v = apply_operator(b, prior.harmonic(b, static_cast<double>(level)), identity, features);
            cov.insert(cov.end(), v.begin(), v.end());
        }
        check_golden(file, "posterior_cov", cov);
    }
    CHECK((!files.empty() || std::getenv("DIEM_GOLDENS") != nullptr));
}

TEMPLATE_TEST_CASE("golden: mixture", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    std::vector<golden_file> files = golden_files("mixture");
    for (auto& file : files) {
        const auto parameters = read_mixture(file);
        const dif::mixture<B> prior(b, parameters);
        const index_t features = prior.features();
        const auto x_t = file.input<T>("x_t").data;
        const auto levels = file.input<T>("sigma").data;
        const auto items = static_cast<index_t>(levels.size());
        const auto sigma = to_backend(b, levels, items, 1);
        const auto lin = prior.linearize(b, to_backend(b, x_t, features, items), sigma.flat());
        check_golden(file, "x_hat", apply_denoise(b, prior, x_t, features, sigma.flat()));
        check_golden(file, "jacobian", to_host(b, lin.jacobian().matrices()));
        check_golden(file, "x_hat_dot", apply_operator(b, lin.jacobian(), file.input<T>("x_t_dot").data, features));

        const auto a = file.input<double>("A"), cov_y = file.input<double>("cov_y"), y = file.input<double>("y");
        const index_t observations = a.shape[0], rows = a.shape[1];
        std::vector<double> weight, component_mean, component_cov, mean, cov;
        const auto slice = [](const std::vector<double>& v, index_t i, index_t n) {
            return std::vector<double>(v.begin() + i * n, v.begin() + (i + 1) * n);
        };
        const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
            to.insert(to.end(), from.begin(), from.end());
        };
        for (index_t i = 0; i < observations; ++i) {
            const auto posterior =
                dif::mixture_posterior(parameters, transposed(slice(a.data, i, rows * features), rows, features),
                                       slice(cov_y.data, i, rows), slice(y.data, i, rows));
            append(weight, posterior.weight);
            append(component_mean, posterior.mean);
            append(component_cov, posterior.cov);
            const auto m = dif::mixture_moments(posterior);
            append(mean, m.mean);
            append(cov, m.cov);
        }
        check_golden(file, "posterior_weight", weight);
        check_golden(file, "posterior_component_mean", component_mean);
        check_golden(file, "posterior_component_cov", component_cov);
        check_golden(file, "posterior_mean", mean);
        check_golden(file, "posterior_cov", cov);
    }
    CHECK((!files.empty() || std::getenv("DIEM_GOLDENS") != nullptr));
}

TEMPLATE_TEST_CASE("golden: samplers, Gaussian model", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    std::vector<golden_file> files = golden_files(
        "samplers", [](const golden_file& file) { return file.config().at("model").at("type") == "gaussian"; });
    for (auto& file : files) {
        const auto prior = read_gaussian(b, file);
        const auto& config = file.config();
        const auto steps = config.at("steps").get<index_t>(), items = config.at("items").get<index_t>();
        const index_t features = prior.features();
        const dif::ve_log_linear schedule(config.at("a").get<double>(), config.at("b").get<double>());
        std::vector<double> sigma;
        for (index_t i = 0; i <= steps; ++i) sigma.push_back(schedule.sigma(dif::time_at(i, steps)));
        check_golden(file, "sigma", sigma);

        const auto x_1 = file.input<T>("x_1").data, step = file.input<T>("noise_ddpm").data;
        const auto pc = file.input<T>("noise_pc");
        const index_t corrections = pc.shape[1];
        const auto step_noise = to_backend(b, step, features, steps * items);
        const auto pc_noise = to_backend(b, pc.data, features, steps * corrections * items);
        const dif::given_noise<B> noise{{}, step_noise.view(), pc_noise.view()};
        const auto run = [&](const std::string& name, const auto& sampler) {
            auto x = to_backend(b, x_1, features, items);
            std::vector<T> states = x_1;
            const auto progress = [&](index_t, index_t, double) {
                const auto state = to_host(b, x);
                states.insert(states.end(), state.begin(), state.end());
                return true;
            };
            const auto result = dif::sample(b, prior, schedule, sampler, {.steps = steps, .start_given = true}, noise,
                                            x.view(), progress);
            CHECK(result.finished);
            check_golden(file, name + "/states", states);
            check_golden(file, name + "/final", to_host(b, x));
        };
        run("ddpm", dif::ddpm{});
        run("ddim", dif::ddim{});
        run("pc", dif::predictor_corrector{.corrections = corrections});
    }
    CHECK((!files.empty() || std::getenv("DIEM_GOLDENS") != nullptr));
}
