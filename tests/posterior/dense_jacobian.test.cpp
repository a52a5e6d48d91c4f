// SPDX-License-Identifier: Apache-2.0

// An MMPS step on a network is the explicit formula x_hat + V A' (Sigma_y + A V A')^-1 (y - A x_hat), V = sigma^2 J', with the
// Jacobian J built column by column.
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using B = test::main_backend<double>;
using numbers = std::vector<double>;

namespace {

std::size_t at(index_t row, index_t column, index_t rows) { return static_cast<std::size_t>(column * rows + row); }

/// x with m x = b, m column-major rows x rows, by elimination with row exchanges.
numbers solve(numbers m, numbers b) {
    const auto n = static_cast<index_t>(b.size());
    for (index_t k = 0; k < n; ++k) {
        index_t pivot = k;
        for (index_t i = k + 1; i < n; ++i)
            if (std::abs(m[at(i, k, n)]) > std::abs(m[at(pivot, k, n)])) pivot = i;
        for (index_t j = 0; j < n; ++j) std::swap(m[at(k, j, n)], m[at(pivot, j, n)]);
        std::swap(b[at(k, 0, n)], b[at(pivot, 0, n)]);
        for (index_t i = k + 1; i < n; ++i) {
            const double factor = m[at(i, k, n)] / m[at(k, k, n)];
            for (index_t j = k; j < n; ++j) m[at(i, j, n)] -= factor * m[at(k, j, n)];
            b[at(i, 0, n)] -= factor * b[at(k, 0, n)];
        }
    }
    for (index_t i = n - 1; i >= 0; --i) {
        for (index_t j = i + 1; j < n; ++j) b[at(i, 0, n)] -= m[at(i, j, n)] * b[at(j, 0, n)];
        b[at(i, 0, n)] /= m[at(i, i, n)];
    }
    return b;
}

template <class Net>
void compare_with_dense(Net net, double sigma) {
    B b = test::make_backend<B>();
    model::preconditioned<B, Net> model(b, std::move(net));
    batch<B> weights(b, model.parameters().size(), 1);
    b.fill_normal({.seed = 3}, weights.view());
    b.axpby(0.3, weights.cview(), 0.0, as_batch(vector_t<B>(model.mutable_parameters())));
    const index_t d = model.features(), rows = 3, items = 2;
    const double variance = 0.04;
    batch<B> matrix(b, rows, d), x_t(b, d, items), y(b, rows, items), out(b, d, items);
    b.fill_normal({.seed = 4}, matrix.view());
    b.fill_normal({.seed = 5}, x_t.view());
    b.fill_normal({.seed = 6}, y.view());
    const auto a = to_host(b, matrix), observed = to_host(b, y);

    // x_hat and V' = sigma^2 J, a column of J for each unit vector.
    const auto linearization = model.linearize(b, x_t.cview(), diffusion::noise_level<B>(sigma));
    const auto x_hat = to_host(b, linearization.mean());
    const auto jacobian = linearization.jacobian();
    std::vector<numbers> columns;
    for (index_t k = 0; k < d; ++k) {
        numbers unit(static_cast<std::size_t>(d * items));
        for (index_t i = 0; i < items; ++i) unit[at(k, i, d)] = 1;
        const auto direction = to_backend(b, unit, d, items);
        jacobian.apply(b, direction.cview(), out.view());
        columns.push_back(to_host(b, out));
    }
    numbers expected;
    for (index_t i = 0; i < items; ++i) {
        const auto v = [&](index_t row, index_t column) {
            return sigma * sigma * columns[static_cast<std::size_t>(row)][at(column, i, d)];
        };
        numbers va(static_cast<std::size_t>(d * rows)), m(static_cast<std::size_t>(rows * rows)), r;
        for (index_t p = 0; p < rows; ++p) {
            r.push_back(observed[at(p, i, rows)]);
            for (index_t j = 0; j < d; ++j) {
                r.back() -= a[at(p, j, rows)] * x_hat[at(j, i, d)];
                for (index_t k = 0; k < d; ++k) va[at(j, p, d)] += v(j, k) * a[at(p, k, rows)];
            }
        }
        for (index_t p = 0; p < rows; ++p)
            for (index_t q = 0; q < rows; ++q) {
                m[at(p, q, rows)] = p == q ? variance : 0;
                for (index_t j = 0; j < d; ++j) m[at(p, q, rows)] += a[at(p, j, rows)] * va[at(j, q, d)];
            }
        const auto solution = solve(m, r);
        for (index_t j = 0; j < d; ++j) {
            double value = x_hat[at(j, i, d)];
            for (index_t p = 0; p < rows; ++p) value += va[at(j, p, d)] * solution[at(p, 0, rows)];
            expected.push_back(value);
        }
    }

    // J is not symmetric: the solvers for any matrix, as many iterations as there are rows.
    posterior::mmps step(b, model,
                         posterior::observe(b, y.cview(), linop::dense<B>::shared(matrix.cview()),
                                            linop::isotropic_covariance(rows, variance)),
                         {.solver = posterior::solver_choice::gmres, .max_iterations = rows});
    step.denoise(b, x_t.cview(), sigma, out.view());
    CHECK(test::relative_error(to_host(b, out), expected) <= 1e-9);
}

}  // namespace

TEST_CASE("MMPS equals the explicit formula with a dense Jacobian: MLP") {
    for (const double sigma : {0.05, 0.7, 4.0})
        compare_with_dense(nn::mlp<B>({.features = 7, .hidden = {16, 12}, .embedding = 8, .normalize = true}), sigma);
}

TEST_CASE("MMPS equals the explicit formula with a dense Jacobian: U-Net") {
    nn::unet_config c;
    c.height = c.width = 4;
    c.channels = 1;
    c.hid_channels = {4, 8};
    c.hid_blocks = {1, 1};
    c.embedding = 8;
    c.heads[1] = 2;
    for (const double sigma : {0.05, 0.7, 4.0}) compare_with_dense(nn::unet<B>(c), sigma);
}
