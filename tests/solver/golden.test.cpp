// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include <diem/linop/compose.hpp>
#include <diem/linop/dense.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/gmres.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;

namespace {

template <class T, class B>
void check_report(B& b, test::golden_file& file, const std::string& prefix, const solver::solver_result<B>& result,
                  const batch<B>& x) {
    const auto report = result.to_host(b);
    std::vector<int> status;
    for (const auto s : report.status) status.push_back(static_cast<int>(s));
    test::check_golden(file, prefix + "x", to_host(b, x));
    test::check_golden(file, prefix + "status", status);
    test::check_golden(file, prefix + "updates", report.updates);
    // Kept in float64, held to the tolerance of the arithmetic.
    test::check_golden(file, prefix + "residual_norm",
                       std::vector<T>(report.residual_norms.begin(), report.residual_norms.end()));
    test::check_golden(file, prefix + "residual_norms", std::vector<T>(report.history.begin(), report.history.end()));
}

}  // namespace

TEMPLATE_TEST_CASE("cg and gmres agree with the golden files", "[golden]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = test::make_backend<B>();
    auto files = test::golden_files("solver");
    for (auto& file : files) {
        const auto n = file.config().at("size").get<index_t>();
        const auto m_host = file.input<T>("M"), rhs_host = file.input<T>("b");
        const auto items = static_cast<index_t>(rhs_host.data.size()) / n;
        // Files are row-major: columns of what is read are rows of M.
        const auto m = linop::assume_symmetric(
            linop::adjoint(linop::dense<B>::per_item(to_backend<B, T>(b, m_host.data, n * n, items), n, n)));
        const auto rhs = to_backend<B, T>(b, rhs_host.data, n, items);
        for (const auto count : file.config().at("iterations").get<std::vector<index_t>>()) {
            solver::solver_options options;
            options.max_iterations = count;
            options.relative_tolerance = file.config().at("rtol").get<double>();
            options.record_history = true;
            batch<B> x(b, n, items);
            check_report<T>(b, file, "cg" + std::to_string(count) + "/", solver::cg<B>(b, m, rhs, x, options), x);
            check_report<T>(b, file, "gmres" + std::to_string(count) + "/", solver::gmres<B>(b, m, rhs, x, options), x);
        }
    }
}
