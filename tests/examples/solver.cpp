// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/solver/bicgstab.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/dense_cholesky.hpp>
#include <diem/solver/gmres.hpp>
#include <diem/solver/status.hpp>

#include "example.hpp"

namespace {

/// (4 1; 1 3), whose solution for (1, 2) is (1, 7) / 11.
auto positive(backend& b) {
    return diem::linop::dense<backend>::shared(diem::to_backend(b, std::vector<float>{4, 1, 1, 3}, 2, 2));
}
/// (0 1; -1 3), column-major: neither symmetric nor definite. Solution for (1, 2): (1, 1).
auto general(backend& b) {
    return diem::linop::dense<backend>::shared(diem::to_backend(b, std::vector<float>{0, -1, 1, 3}, 2, 2));
}

}  // namespace

TEST_CASE("solver/cg.hpp") {
    backend b(1);
    const auto a = positive(b);
    // [solver/cg.hpp]
    const auto m = diem::linop::assume_symmetric(a);  // (4 1; 1 3) for all items; cg wants the promise
    const auto rhs = diem::to_backend(b, std::vector<float>{1, 2, 0, 0}, 2, 2);
    diem::batch<backend> x(b, 2, 2);
    const auto solved =
        diem::solver::cg(b, m, rhs.cview(), x.view(), {.max_iterations = 10, .relative_tolerance = 1e-5});
    const auto report = solved.to_host(b);  // report.status, one per item; x is (1, 7) / 11 and 0
    // [solver/cg.hpp]
    CHECK(report.all(diem::solver::solver_status::converged));
    CHECK(report.updates == std::vector<int>{2, 0});
    CHECK(diem::to_host(b, x)[1] == about(7.0 / 11));
}

TEST_CASE("solver/gmres.hpp") {
    backend b(1);
    const auto m = general(b);
    // [solver/gmres.hpp]
    // m is (0 1; -1 3), neither symmetric nor definite.
    const auto rhs = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);
    diem::batch<backend> x(b, 2, 1), y(b, 2, 1);
    diem::solver::gmres(b, m, rhs.cview(), x.view(), {.max_iterations = 2});  // x = (1, 1)
    diem::solver::fom(b, m, rhs.cview(), y.view(), {.max_iterations = 1});    // one iteration: not yet there
    // [solver/gmres.hpp]
    CHECK(diem::to_host(b, x)[0] == about(1));
    CHECK(diem::to_host(b, x)[1] == about(1));
    CHECK(std::abs(diem::to_host(b, y)[0] - 1) > 0.01F);
}

TEST_CASE("solver/bicgstab.hpp") {
    backend b(1);
    const auto m = general(b);
    // [solver/bicgstab.hpp]
    const auto rhs = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);  // m: (0 1; -1 3)
    diem::batch<backend> x(b, 2, 1);
    const auto report = diem::solver::bicgstab(b, m, rhs.cview(), x.view()).to_host(b);  // x = (1, 1)
    // [solver/bicgstab.hpp]
    CHECK(report.all(diem::solver::solver_status::converged));
    CHECK(diem::to_host(b, x)[0] == about(1));
}

TEST_CASE("solver/dense_cholesky.hpp") {
    backend b(1);
    const auto a = positive(b);
    // [solver/dense_cholesky.hpp]
    const auto m = diem::linop::assume_symmetric(a);
    const auto rhs = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);
    diem::batch<backend> x(b, 2, 1);
    const auto report = diem::solver::dense_cholesky(b, m, rhs.cview(), x.view()).to_host(b);
    // [solver/dense_cholesky.hpp]
    CHECK(report.true_residual_norms[0] < 1e-6);
    CHECK(diem::to_host(b, x)[0] == about(1.0 / 11));
}

TEST_CASE("solver/status.hpp") {
    backend b(1);
    // [solver/status.hpp]
    const auto m = diem::linop::diagonal<backend>::per_item(diem::to_backend(b, std::vector<float>{1, 2, 1, -1}, 2, 2));
    const auto rhs = diem::to_backend(b, std::vector<float>{1, 1, 1, 1}, 2, 2);
    diem::batch<backend> x(b, 2, 2);
    const auto report = diem::solver::cg(b, m, rhs.cview(), x.view()).to_host(b);
    // Item 0 has converged. Item 1 broke down, for its matrix is not positive definite, and that did not reach item 0.
    // [solver/status.hpp]
    CHECK(report.status == std::vector{diem::solver::solver_status::converged, diem::solver::solver_status::breakdown});
    CHECK(report.count(diem::solver::solver_status::breakdown) == 1);
}
