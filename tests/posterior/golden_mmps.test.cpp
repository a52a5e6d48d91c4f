// SPDX-License-Identifier: Apache-2.0

// MMPS with a Gaussian prior, and posterior sampling, against the reference implementation and closed forms.
#include <string>
#include <utility>
#include <vector>

#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_samplers.hpp"

using namespace diem;
using posterior::solver_choice;

namespace {

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
    for (auto& file : test::golden_files("mmps_gaussian")) {
        auto prior = test::load_gaussian(b, file);
        const auto shape = file.input<T>("A").shape;
        const index_t n = shape[0], d = shape[2];
        const auto x_t = test::load_input(b, file, "x_t"), y = test::load_input(b, file, "y"),
                   sigma = test::load_input(b, file, "sigma");
        const auto observation =
            posterior::observe(b, y.view(), load_operator(b, file),
                               linop::diagonal_covariance<B>::per_item(b, test::load_input(b, file, "cov_y")));
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
    }
}

TEMPLATE_TEST_CASE("golden: posterior sampling", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const auto wanted = [](const test::golden_file& f) { return f.config().at("model").at("type") == "posterior"; };
    for (auto& file : test::golden_files("samplers", wanted)) {
        auto prior = test::load_gaussian(b, file);
        const auto& model = file.config().at("model");
        const auto rows = model.at("rows").template get<index_t>();
        const double sigma_y = model.at("sigma_y").template get<double>();
        const auto y = test::load_input(b, file, "y");
        posterior::mmps p(b, prior,
                          posterior::observe(b, y.view(), load_operator(b, file),
                                             linop::isotropic_covariance(rows, sigma_y * sigma_y)),
                          {.max_iterations = model.at("iterations").template get<index_t>()});
        test::check_samplers(b, file, p);
    }
}
