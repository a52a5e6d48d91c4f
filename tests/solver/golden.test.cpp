// SPDX-License-Identifier: Apache-2.0
#include <diem/solver/cg.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/backend/reference.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/opaque_backend.hpp"

using namespace diem;

namespace {

/// A matrix per item, column-major, seen transposed: row-major files fit as they are. Gives W p = 2 p for free.
template <class B>
struct matrices {
    using operator_tag = linop::symmetric_tag;
    const_view_t<B> data;
    index_t n;
    mutable index_t products = 0;
    index_t rows() const { return n; }
    index_t cols() const { return n; }
    index_t items() const { return data.items(); }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        ++products;
        b.gemm_batched(scalar_t<B>(1), as_matrices(data, n, n), op::transpose, as_columns(x), op::none, scalar_t<B>(0),
                       as_columns(y));
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    matrices items(index_t first, index_t count) const { return {data.item_range(first, count), n}; }
    void apply_with_byproduct(B& b, const_view_t<B> x, view_t<B> y, view_t<B> w) const {
        apply(b, x, y);
        b.axpby(2.0, x.feature_range(0, w.features()), 0.0, w);
    }
};

}  // namespace

TEMPLATE_TEST_CASE("cg agrees with the golden files", "[golden]", reference_backend<float>, reference_backend<double>,
                   eigen_backend<float>, eigen_backend<double>, test::opaque_backend<float>,
                   test::opaque_backend<double>) {
    using B = TestType;
    using T = scalar_t<B>;
    B b;
    for (auto& file : test::golden_files("solver")) {
        const auto n = file.config().at("size").get<index_t>();
        const auto m_host = file.input<T>("M"), rhs_host = file.input<T>("b");
        const auto items = static_cast<index_t>(rhs_host.data.size()) / n;
        const auto m = to_backend<B, T>(b, m_host.data, n * n, items);
        const auto rhs = to_backend<B, T>(b, rhs_host.data, n, items);
        for (const auto count : file.config().at("iterations").get<std::vector<index_t>>()) {
            batch<B> x(b, n, items);
            solver::cg_options options;
            options.max_iterations = count;
            options.relative_tolerance = file.config().at("rtol").get<double>();
            options.record_history = true;
            const matrices<B> a{m.view(), n};
            const auto report = solver::cg<B>(b, a, rhs.view(), x.view(), options).to_host(b);
            const std::string prefix = "cg" + std::to_string(count) + "/";
            std::vector<int> status;
            for (const auto s : report.status) status.push_back(static_cast<int>(s));
            test::check_golden(file, prefix + "x", to_host(b, x));
            test::check_golden(file, prefix + "status", status);
            test::check_golden(file, prefix + "updates", report.updates);
            // Kept in float64, held to the tolerance of the arithmetic.
            test::check_golden(file, prefix + "residual_norm",
                               std::vector<T>(report.residual_norms.begin(), report.residual_norms.end()));
            test::check_golden(file, prefix + "residual_norms",
                               std::vector<T>(report.history.begin(), report.history.end()));
        }
    }
}
