// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/train/loss.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "toy_model.hpp"

using namespace diem;

namespace {

struct result {
    double loss = 0;
    std::vector<double> grad;
};

/// Loss and gradient of the toy model on 23 items of 4 features.
template <class B>
result evaluate(B& b, index_t micro_batch, unsigned step = 3, bool dropout = true, double shift = 0,
                index_t which = 0) {
    test::toy_model<B> model(b, 4, 11);
    auto weights = to_host(b, model.parameters());
    weights[static_cast<std::size_t>(which)] += static_cast<scalar_t<B>>(shift);
    b.upload(host_view<const scalar_t<B>>(weights.data(), model.parameters().size(), 1),
             as_batch(model.mutable_parameters()));
    batch<B> data(b, 4, 23), grad(b, model.parameters().size(), 1);
    batch<B, double> loss(b, 1, 1);
    b.fill_normal({.seed = 21}, data.view());
    b.fill(grad.view(), static_cast<scalar_t<B>>(NAN));  // must be overwritten
    const auto draw = [&](index_t first, view_t<B> part) {
        b.copy(data.cview().item_range(first, part.items()), part);
    };
    train::denoising_loss<B>(
        b, model, draw, 23, {.seed = 9, .step = step},

        {.sigma_min = 0.1, .sigma_max = 10, .micro_batch = micro_batch, .dropout = dropout ? 0.5 : 0}, grad.flat(),
        loss.flat());
    const auto g = to_host(b, grad);
    return {to_host(b, loss).front(), {g.begin(), g.end()}};
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double scale = 0, worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        scale = std::max(scale, std::abs(a[i]));
        const double d = std::abs(a[i] - b[i]);
        if (!(d <= worst)) worst = d;
    }
    return worst / scale;
}

}  // namespace

TEST_CASE("the loss weighs noise levels by sigma_data: a network that gives nothing has loss 1 at each of them") {
    using B = test::main_backend<float>;
    B b;
    for (const double spread : {0.5, 1.0, 3.0})
        for (const double sigma : {0.1, 1.0, 10.0}) {
            CAPTURE(spread, sigma);
            model::preconditioned<B, nn::mlp<B>> model(b, nn::mlp<B>({4, {8}, 8}), {.sigma_data = spread});
            b.fill(as_batch(model.mutable_parameters()), 0.0F);
            const index_t n = 2000;
            batch<B> x(b, 4, n), x_t(b, 4, n), sigmas(b, n, 1), grad(b, model.parameters().size(), 1);
            batch<B, double> loss(b, n, 1);
            b.fill_normal({.seed = 1}, x.view());
            b.fill_normal({.seed = 2}, x_t.view());
            b.axpby(0.0, x.cview(), spread, x.view());
            b.axpby(1.0, x.cview(), sigma, x_t.view());
            b.fill(sigmas.view(), static_cast<float>(sigma));
            train::denoising_loss_at<B>(b, model, x.cview(), x_t.view(), const_vector_t<B>(sigmas.flat()), n, {},
                                        nn::update::overwrite, grad.flat(), loss.flat());
            // d(x_t) = c_skip x_t errs by s^2 d^2 / (s^2 + d^2), the inverse of the weight.
            double mean = 0;
            for (const double l : to_host(b, loss)) mean += l / n;
            CHECK(std::abs(mean - 1) <= 5 * std::sqrt(2.0 / (4 * n)));
        }
}

TEST_CASE("denoising loss equals its formula, term by term") {
    reference_backend<double> b;
    test::toy_model<reference_backend<double>> model(b, 4, 11);
    const auto w = to_host(b, model.parameters());
    const random_key data_key{.seed = 21}, key{.seed = 9, .step = 3};
    double expected = 0;
    for (std::uint32_t i = 0; i < 23; ++i) {
        const double t = beta33<double>(key.with_lane(random_lane::training_time), i, 0);
        const double sigma = std::pow(0.1, 1 - t) * std::pow(10.0, t);
        double x[4], x_t[4], squares = 0;
        for (std::uint32_t j = 0; j < 4; ++j) {
            x[j] = normal<double>(data_key, i, j);
            x_t[j] = x[j] + sigma * normal<double>(key.with_lane(random_lane::training_noise), i, j);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            double x_hat = w[16 + j];
            for (std::size_t k = 0; k < 4; ++k) x_hat += w[j + 4 * k] * x_t[k];
            squares += (x_hat - x[j]) * (x_hat - x[j]);
        }
        expected += (1 / (sigma * sigma) + 1) * squares / 4 / 23;
    }
    CHECK(std::abs(evaluate(b, 0, 3, false).loss - expected) <= 1e-12 * expected);
}

TEST_CASE("gradient of the denoising loss equals central differences") {
    reference_backend<double> b;
    const auto at = evaluate(b, 0);
    std::vector<double> difference;
    for (index_t k = 0; k < 20; ++k)  // the loss is quadratic in the weights: exact to rounding
        difference.push_back((evaluate(b, 0, 3, true, 1e-2, k).loss - evaluate(b, 0, 3, true, -1e-2, k).loss) / 2e-2);
    CHECK(largest_difference(at.grad, difference) <= 1e-10);
}

TEMPLATE_TEST_CASE("the size of micro-batches changes the loss by rounding only", "", reference_backend<double>,
                   test::main_backend<double>, test::opaque_backend<double>) {
    TestType b;
    const auto whole = evaluate(b, 0);
    for (const index_t micro : {1, 5, 16, 22, 23, 100}) {
        const auto parts = evaluate(b, micro);
        CHECK(std::abs(parts.loss - whole.loss) <= 1e-13 * whole.loss);
        CHECK(largest_difference(whole.grad, parts.grad) <= 1e-13);
    }
    CHECK(std::abs(evaluate(b, 0, 4).loss - whole.loss) > 1e-3 * whole.loss);  // another step, other noise

    auto single = test::make_backend<test::main_backend<float>>(2);
    const auto rounded = evaluate(single, 7);
    CHECK(std::isfinite(rounded.loss));
    CHECK(largest_difference(evaluate(single, 0).grad, rounded.grad) <= 1e-5);
}

TEST_CASE("backends agree on the denoising loss") {
    reference_backend<double> reference;
    auto eigen = test::make_backend<test::main_backend<double>>(2);
    test::opaque_backend<double> opaque;
    const auto expected = evaluate(reference, 8);
    for (const auto& other : {evaluate(eigen, 8), evaluate(opaque, 8)}) {
        CHECK(std::abs(other.loss - expected.loss) <= 1e-12 * expected.loss);
        CHECK(largest_difference(expected.grad, other.grad) <= 1e-12);
    }
}

TEST_CASE("options and sizes of the denoising loss are checked") {
    reference_backend<double> b;
    using B = reference_backend<double>;
    test::toy_model<B> model(b, 4, 11);
    batch<B> grad(b, 20, 1);
    batch<B, double> loss(b, 1, 1);
    const auto draw = [&](index_t, view_t<B> part) { b.fill(part, 0); };
    const auto run = [&](index_t items, const train::loss_options& o, vector_t<B> g) {
        train::denoising_loss<B>(b, model, draw, items, {}, o, g, loss.flat());
    };
    CHECK_NOTHROW(run(2, {}, grad.flat()));
    CHECK_THROWS_AS(run(0, {}, grad.flat()), value_error);
    CHECK_THROWS_AS(run(2, {.sigma_min = 0}, grad.flat()), value_error);
    CHECK_THROWS_AS(run(2, {.sigma_min = 1, .sigma_max = 1}, grad.flat()), value_error);
    CHECK_THROWS_AS(run(2, {.micro_batch = -1}, grad.flat()), value_error);
    CHECK_THROWS_AS(run(2, {.dropout = 1}, grad.flat()), value_error);
    CHECK_THROWS_AS(run(2, {}, grad.flat().range(0, 19)), shape_error);
}
