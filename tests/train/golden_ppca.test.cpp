// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include <diem/train/ppca.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using namespace diem::test;

TEMPLATE_TEST_CASE("golden ppca", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    for (auto& file : golden_files("ppca")) {
        const auto x = file.input<T>("x");
        const auto n = static_cast<index_t>(x.shape[1]);
        const auto samples = to_backend(b, x.data, n, static_cast<index_t>(x.shape[0]));
        const auto result = train::ppca(b, samples.cview(), {.rank = file.config().at("rank").get<index_t>()});
        batch<B> cov(b, n, n);
        b.gemm(T(1), result.factor.cview(), op::none, result.factor.cview(), op::transpose, T(0), cov.view());
        check_golden(file, "mean", to_host(b, result.mean));
        check_golden(file, "d", to_host(b, result.diagonal));
        check_golden(file, "u_ut", to_host(b, cov));
        const auto d = to_host(b, result.diagonal);
        auto full = to_host(b, cov);
        for (index_t j = 0; j < n; ++j) full[static_cast<std::size_t>(j + j * n)] += d[static_cast<std::size_t>(j)];
        check_golden(file, "cov", full);
        std::vector<T> values;
        for (const double v : result.eigenvalues) values.push_back(static_cast<T>(v));
        check_golden(file, "eigenvalues", values);
        CHECK(result.converged);
    }
}
