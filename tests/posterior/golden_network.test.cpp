// SPDX-License-Identifier: Apache-2.0

// MMPS and samplers with networks, against the reference implementation.
#include <string>
#include <vector>

#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"
#include "support/golden_samplers.hpp"

using namespace diem;
using posterior::solver_choice;

TEMPLATE_TEST_CASE("golden: MMPS with a U-Net", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    for (auto& file : test::golden_files("mmps_unet")) {
        auto model = test::load_network(b, file, file.config().at("net"));
        const auto x_t = test::load_input(b, file, "x_t"), y = test::load_input(b, file, "y"),
                   mask = test::load_input(b, file, "mask"), sigma = test::load_input(b, file, "sigma");
        const index_t d = x_t.features(), n = x_t.items();
        const double sigma_y = file.config().at("sigma_y").template get<double>();
        const double rtol = file.config().value("rtol", 0.0);
        const auto observation = posterior::observe(b, y.view(), linop::mask<B>::per_item(mask.view()),
                                                    linop::isotropic_covariance(d, sigma_y * sigma_y));
        const diffusion::noise_level<B> level(const_vector_t<B>(sigma.flat()));
        batch<B> out(b, d, n);
        model.denoise(b, x_t.view(), level, out.view());
        test::check_golden(file, "x_hat", to_host(b, out));
        for (const auto& m : file.config().at("iterations"))
            for (const auto& [name, solver] : {std::pair{"cg", solver_choice::cg}, {"gmres", solver_choice::gmres}}) {
                posterior::mmps p(
                    b, model, observation,
                    {.solver = solver, .max_iterations = m.template get<index_t>(), .relative_tolerance = rtol});
                p.denoise(b, x_t.view(), level, out.view());
                const std::string prefix = name + std::to_string(m.template get<int>());
                test::check_golden(file, prefix + "/mean", to_host(b, out));
                test::check_golden(file, prefix + "/updates", to_host(b, p.last_solve().updates()));
                test::check_golden(file, prefix + "/status", to_host(b, p.last_solve().status()));
                const auto norms = p.last_solve().to_host(b).residual_norms;
                test::check_golden(file, prefix + "/residual_norm",
                                   std::vector<scalar_t<B>>(norms.begin(), norms.end()));
            }
    }
}

TEMPLATE_TEST_CASE("golden: samplers with a network", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const auto wanted = [](const test::golden_file& f) {
        const auto type = f.config().at("model").at("type").template get<std::string>();
        return type == "mlp" || type == "unet";
    };
    for (auto& file : test::golden_files("samplers", wanted)) {
        auto model = test::load_network(b, file, file.config().at("model"));
        test::check_samplers(b, file, model);
    }
}
