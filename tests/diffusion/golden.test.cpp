// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include <diem/diffusion/mixture.hpp>

#include "diffusion/helpers.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_samplers.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

namespace {

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
        const auto prior = load_gaussian(b, file);
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
}

TEMPLATE_TEST_CASE("golden: samplers, Gaussian model", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    std::vector<golden_file> files = golden_files(
        "samplers", [](const golden_file& file) { return file.config().at("model").at("type") == "gaussian"; });
    for (auto& file : files) {
        const auto prior = load_gaussian(b, file);
        const auto& config = file.config();
        const auto steps = config.at("steps").get<index_t>();
        const dif::ve_log_linear schedule(config.at("a").get<double>(), config.at("b").get<double>());
        std::vector<double> sigma;
        for (index_t i = 0; i <= steps; ++i) sigma.push_back(schedule.sigma(dif::time_at(i, steps)));
        check_golden(file, "sigma", sigma);

        check_samplers(b, file, prior);
    }
}
