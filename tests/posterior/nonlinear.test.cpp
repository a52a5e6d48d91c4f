// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <utility>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/nonlinear.hpp>
#include <diem/posterior/diffpir.hpp>
#include <diem/posterior/dps.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/pigdm.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/posterior/tmpd.hpp>

#include "support/compare.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

constexpr index_t n = 6, m = 4;

/// f(x) = A x + shift, which does not say that it is (nearly) linear.
template <Backend B>
struct affine {
    using operator_tag = linop::nonlinear_tag;
    linop::dense<B> a;
    double shift;
    [[nodiscard]] index_t rows() const { return a.rows(); }
    [[nodiscard]] index_t cols() const { return a.cols(); }
    [[nodiscard]] index_t items() const { return a.items(); }
    [[nodiscard]] affine items(index_t first, index_t count) const { return {a.items(first, count), shift}; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        a.apply(b, x, y);
        if (shift == 0) return;
        batch<B> ones(b, y.features(), y.items());
        b.fill(ones.view(), scalar_t<B>(1));
        b.axpby(shift, ones.cview(), 1.0, y);
    }
    [[nodiscard]] linop::linearized<B, linop::dense<B>> linearize(B& b, const_view_t<B> x) const {
        batch<B> y(b, rows(), x.items());
        apply(b, x, y.view());
        return {std::move(y), a};
    }
};

template <Backend B>
struct problem {
    index_t items;
    diffusion::gaussian<B> prior;
    batch<B> a, y, x_t;
    explicit problem(B& b, index_t count = 3)
        : items(count), prior(b, random_batch(b, n, 1, 1), random_positive(b, n, 1, 2), random_batch(b, n, 2, 3)),
          a(random_batch(b, m, n, 4)), y(random_batch(b, m, count, 5)), x_t(random_batch(b, n, count, 6)) {}
    template <class A>
    auto observed(B& b, const_view_t<B> seen, A forward) const {
        return posterior::observe(b, seen, std::move(forward), linop::isotropic_covariance(m, 0.04));
    }
    auto linear() const { return linop::dense<B>::shared(a.cview()); }
    template <class Method>
    std::vector<scalar_t<B>> denoised(B& b, Method method) const {
        batch<B> out(b, n, items);
        method.denoise(b, x_t.cview(), 1.5, out.view());
        return to_host(b, out);
    }
};

}  // namespace

TEMPLATE_TEST_CASE("a linear map written as one that is not gives the same to the bit", "[posterior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const problem<B> p(b);
    auto prior = p.prior;
    const auto known = p.observed(b, p.y.cview(), p.linear());
    const auto unknown = p.observed(b, p.y.cview(), affine<B>{p.linear(), 0});
    for (const auto solver : {posterior::solver_choice::cg, posterior::solver_choice::gmres,
                              posterior::solver_choice::fom, posterior::solver_choice::bicgstab}) {
        const posterior::mmps_options o{.solver = solver, .max_iterations = 3};
        CHECK(p.denoised(b, posterior::mmps(b, prior, unknown, o)) ==
              p.denoised(b, posterior::mmps(b, prior, known, o)));
    }
    CHECK(p.denoised(b, posterior::dps(b, prior, unknown)) == p.denoised(b, posterior::dps(b, prior, known)));
    CHECK(p.denoised(b, posterior::pigdm(b, prior, unknown)) == p.denoised(b, posterior::pigdm(b, prior, known)));
    CHECK(p.denoised(b, posterior::tmpd(b, prior, unknown)) == p.denoised(b, posterior::tmpd(b, prior, known)));
    CHECK(p.denoised(b, posterior::diffpir(b, prior, unknown)) == p.denoised(b, posterior::diffpir(b, prior, known)));
}

TEMPLATE_TEST_CASE("an affine measurement is that of its linear part, shifted", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const problem<B> p(b);
    auto prior = p.prior;
    batch<B> shifted(b, m, p.items);
    b.fill(shifted.view(), scalar_t<B>(0.75));
    b.axpby(1.0, p.y.cview(), 1.0, shifted.view());
    const posterior::mmps_options o{.max_iterations = 4};
    const auto expected = p.denoised(b, posterior::mmps(b, prior, p.observed(b, p.y.cview(), p.linear()), o));
    const auto got =
        p.denoised(b, posterior::mmps(b, prior, p.observed(b, shifted.cview(), affine<B>{p.linear(), 0.75}), o));
    // Rounding of y and of r, a hundred times by the solve (the condition of M is below 100 here).
    CHECK(worst_item_error(got, expected, n) <= 400 * static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon()));
}

TEST_CASE("of a measurement that is nearly linear where the prior is, samples have the linearised posterior",
          "[posterior][statistics]") {
    // x ~ N(mu, s^2 I) in the plane, far from 0, and y = |x| + e: about mu, |x| is u'x with u = mu / |mu|, and what bends is
    // s^2 / (2 |mu|) = 0.0005, against a posterior deviation of 0.07.
    using B = main_backend<double>;
    B b = make_backend<B>();
    const index_t count = 4000;
    const double s2 = 0.01, variance = 0.01, length = 10, seen = 10.1;
    diffusion::gaussian<B> prior(b, to_backend(b, std::vector<double>{6, 8}, 2, 1),
                                 to_backend(b, std::vector<double>{s2, s2}, 2, 1), batch<B>(b, 2, 0));
    batch<B> y(b, 1, count), x(b, 2, count);
    b.fill(y.view(), seen);
    posterior::mmps method(
        b, prior, posterior::observe(b, y.cview(), linop::magnitude(1), linop::isotropic_covariance(1, variance)),
        {.max_iterations = 1});
    diffusion::sample(b, method, diffusion::ve_log_linear(1e-3, 20.0), diffusion::dpm_solver_2m_sde{},
                      {.steps = 128, .mean = prior.mu()}, random_key{.seed = 3}, x.view());
    const auto drawn = to_host(b, x);
    double along = 0, across = 0, along2 = 0, across2 = 0;
    for (std::size_t i = 0; i < drawn.size(); i += 2) {
        const double u = 0.6 * drawn[i] + 0.8 * drawn[i + 1] - length, v = 0.8 * drawn[i] - 0.6 * drawn[i + 1];
        along += u / count;
        across += v / count;
        along2 += u * u / count;
        across2 += v * v / count;
    }
    const double gain = s2 / (s2 + variance), left = s2 * (1 - gain), bend = s2 / (2 * length);
    const double root = std::sqrt(static_cast<double>(count));
    CHECK(std::abs(along - gain * (seen - length)) <= 5 * std::sqrt(left) / root + 2 * bend);
    CHECK(std::abs(across) <= 5 * std::sqrt(s2) / root);
    // 3 %: what 128 steps and the bend leave.
    CHECK(std::abs((along2 - along * along) / left - 1) <= 0.03 + 5 * std::sqrt(2.0) / root);
    CHECK(std::abs(across2 / s2 - 1) <= 0.03 + 5 * std::sqrt(2.0) / root);
}

TEST_CASE("where a sensor saturates, nothing pulls x_hat back", "[posterior]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    diffusion::gaussian<B> prior(b, to_backend(b, std::vector<double>{0}, 1, 1),
                                 to_backend(b, std::vector<double>{1}, 1, 1), batch<B>(b, 1, 0));
    const auto y = to_backend(b, std::vector<double>{1, 1}, 1, 2), x_t = to_backend(b, std::vector<double>{4, 1}, 1, 2);
    posterior::mmps method(
        b, prior,
        posterior::observe(b, y.cview(), linop::clipping(1, {1, -1, 1}), linop::isotropic_covariance(1, 0.01)),
        {.max_iterations = 2});
    batch<B> out(b, 1, 2);
    method.denoise(b, x_t.cview(), 1.0, out.view());
    const auto x_hat = to_host(b, out);
    // x_hat of the prior is x_t / 2: 2, which is saturated and fits y, and 0.5, which goes towards 1.
    CHECK(std::abs(x_hat[0] - 2) <= 1e-14);
    CHECK(std::abs(x_hat[1] - (0.5 + 0.5 * 0.5 / 0.51)) <= 1e-14);

    // The same through the call that users make, several samples of each.
    batch<B> x(b, 1, 6);
    const auto state = posterior::sample<B>(b, prior, method.observed(),
                                            {.sampling = {.steps = 8, .batch = 2, .samples_per_observation = 3}},
                                            {.seed = 5}, x.view());
    CHECK(state.done == 6);
    CHECK(state.non_finite == 0);
    for (const double each : to_host(b, x)) CHECK(each > 0);
}
