// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/mri.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/masks.hpp>
#include <diem/mri/measured.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/solver/cg.hpp>
#include <diem/testing/adjoint.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/mri.cpp on any backend.
namespace mri_cases {

using namespace diem;

/// To the rounding of float32.
template <Backend B, class A>
bool adjoint_holds(B& b, const A& a, index_t items) {
    return testing::adjoint_error(b, a, {7, random_lane::user, 1, 0}, items) <= 1e-5;
}

enum class product { both_ways, normal };

template <Backend B>
void sense(benchmark::State& state, product what, bool full_size) {
    auto b = make_backend<B>();
    const index_t height = smoke() ? 32 : 320, width = height, coils = 8, size = 2 * height * width;
    using numbers = linop::common_or_each<B>;
    const linop::sense<B> a(
        b, height, width,
        numbers::shared(
            mri::make_mask(b, random_key{1}, height, width,
                           {.kind = mri::mask_kind::random, .acceleration = 4, .centre = 8, .full_size = full_size})),
        numbers::shared(draw(b, coils * size, 1, 0)));
    if (!adjoint_holds(b, a, 1)) return fail(state, "<A x, u> differs from <x, A'u>");
    const auto x = draw(b, size, 1, 1);
    batch<B> y(b, coils * size, 1), back(b, size, 1), normal(b, size, 1);
    a.apply(b, x, y);
    a.apply_adjoint(b, y, back);
    linop::normal(a).apply(b, x.cview(), normal.view());
    b.axpby(-1.0, back.cview(), 1.0, normal.view());
    if (!(inner(b, normal.cview(), normal.cview()) <= 1e-10 * inner(b, back.cview(), back.cview())))
        return fail(state, "A'A x differs from A'(A x)");
    timed(state, b, [&] {
        if (what == product::normal) {
            linop::normal(a).apply(b, x.cview(), normal.view());
        } else {
            a.apply(b, x, y);
            a.apply_adjoint(b, y, back);
        }
    });
}

/// K-space of an ellipse in front of coils around it, with noise.
template <Backend B>
batch<B> phantom(B& b, const mri::kspace_size& size) {
    std::vector<scalar_t<B>> images;
    for (index_t c = 0; c < size.coils; ++c) {
        const double turn = 6.283185307179586 * static_cast<double>(c) / static_cast<double>(size.coils);
        for (index_t i = 0; i < size.height; ++i)
            for (index_t j = 0; j < size.width; ++j) {
                const double y = 2 * static_cast<double>(i) / static_cast<double>(size.height) - 1,
                             x = 2 * static_cast<double>(j) / static_cast<double>(size.width) - 1;
                const double far = std::pow(x - 1.2 * std::cos(turn), 2) + std::pow(y - 1.2 * std::sin(turn), 2);
                const double body = x * x / 0.5 + y * y / 0.6 < 1 ? 1 + 0.3 * std::sin(20 * x + 9 * y) : 0;
                const auto v = body * std::polar(std::exp(-far / 3), turn + 0.4 * x * std::sin(turn));
                images.push_back(static_cast<scalar_t<B>>(v.real()));
                images.push_back(static_cast<scalar_t<B>>(v.imag()));
            }
    }
    auto k = to_backend(b, images, size.numbers(), 1);
    b.fft2(fft_direction::forward, size.height, size.width, k.cview(), k.view());
    b.axpby(1e-3, draw(b, size.numbers(), 1, 3).cview(), 1.0, k.view());
    return k;
}

template <Backend B>
void espirit(benchmark::State& state) {
    auto b = make_backend<B>();
    const mri::kspace_size size = smoke() ? mri::kspace_size{32, 30, 2} : mri::kspace_size{230, 180, 8};
    const auto kspace = phantom(b, size);
    // Maps have norm one where they are not zero, and explain the image: S S^H x = x inside the body.
    const auto maps = to_host(b, mri::espirit(b, kspace.cview(), size));
    batch<B> images(b, size.numbers(), 1);
    b.fft2(fft_direction::inverse, size.height, size.width, kspace.cview(), images.view());
    const auto coils = to_host(b, images);
    double left = 0, all = 0;
    index_t inside = 0;
    for (index_t p = 0; p < size.pixels(); ++p) {
        std::complex<double> common = 0;
        double norm = 0;
        const auto at = [&](const auto& v, index_t c) {
            const auto k = static_cast<std::size_t>(2 * (c * size.pixels() + p));
            return std::complex<double>(static_cast<double>(v[k]), static_cast<double>(v[k + 1]));
        };
        for (index_t c = 0; c < size.coils; ++c) {
            common += std::conj(at(maps, c)) * at(coils, c);
            norm += std::norm(at(maps, c));
        }
        if (norm == 0) continue;
        ++inside;
        if (!(std::abs(norm - 1) <= 1e-5)) return fail(state, "a map of norm " + std::to_string(norm));
        for (index_t c = 0; c < size.coils; ++c) {
            left += std::norm(at(coils, c) - common * at(maps, c));
            all += std::norm(at(coils, c));
        }
    }
    if (inside < size.pixels() / 4 || !(left <= 1e-3 * all)) return fail(state, "the maps do not explain the image");
    timed(state, b, [&] { (void)mri::espirit(b, kspace.cview(), size); });
}

/// CG-SENSE of the same k-space, all of it measured: 30 iterations, as `bart pics` makes them.
template <Backend B>
void cg_sense(benchmark::State& state) {
    auto b = make_backend<B>();
    const mri::kspace_size size = smoke() ? mri::kspace_size{32, 30, 2} : mri::kspace_size{230, 180, 8};
    const auto kspace = phantom(b, size);
    using numbers = linop::common_or_each<B>;
    const linop::sense<B> a(b, size.height, size.width, numbers::shared(mri::measured_mask(b, kspace, size)),
                            numbers::shared(mri::espirit(b, kspace, size)));
    const auto m = linop::sum(linop::normal(a), linop::scaling(a.cols(), 0.01));
    batch<B> rhs(b, a.cols(), 1), x(b, a.cols(), 1), residual(b, a.cols(), 1);
    solver::cg_options o;
    o.max_iterations = 30;
    // check_every 0: all 30 products are made. Below 1e-10 the residual would go on to subnormal numbers, which are slow.
    o.relative_tolerance = 1e-10;
    o.check_every = 0;
    const auto solve = [&] {
        a.apply_adjoint(b, kspace, rhs);
        (void)solver::cg(b, m, rhs.cview(), x.view(), o);
    };
    solve();
    m.apply(b, x.cview(), residual.view());
    b.axpby(1.0, rhs.cview(), -1.0, residual.view());
    if (!(inner(b, residual.cview(), residual.cview()) <= 1e-6 * inner(b, rhs.cview(), rhs.cview())))
        return fail(state, "30 iterations leave a thousandth");
    timed(state, b, solve);
}

/// `small`: for an hour on a few cores; `paper`: the channels, blocks and attention of the method's knee experiment.
inline nn::unet_config unet(bool paper) {
    const index_t side = smoke() ? 32 : 128;
    if (paper) return {side, side, 1, 4, {128, 256, 384, 512}, {3, 3, 3, 3}, 256, {{3, 4}}};
    return {side, side, 1, 4, {64, 128, 256}, {2, 2, 2}, 128, {}};
}

template <Backend B>
void mmps_step(benchmark::State& state, bool paper, index_t iterations) {
    auto b = make_backend<B>();
    const nn::unet_config c = unet(paper);
    const index_t items = smoke() ? 1 : 8;
    model::preconditioned<B, nn::unet<B>> m(b, nn::unet<B>(c));
    m.initialize(b, random_key{3});
    const linop::mri<B> a(b, c.height, c.width,
                          linop::common_or_each<B>::per_item(
                              mri::make_mask(b, random_key{1}, c.height, c.width, {.acceleration = 6}, items)));
    if (!adjoint_holds(b, a, items)) return fail(state, "<A x, u> differs from <x, A'u>");
    batch<B> y(b, a.rows(), items), x_hat(b, m.features(), items);
    const auto truth = draw(b, m.features(), items, 0), x = draw(b, m.features(), items, 1);
    const linop::isotropic_covariance noise{a.rows(), 1e-4};
    posterior::simulate(b, a, noise, truth.view(), {1, random_lane::observation, 0, 0}, y.view());
    posterior::mmps p(b, m, posterior::observe(b, y.cview(), a, noise), {.max_iterations = iterations});
    const auto step = [&] { p.denoise(b, x.view(), 1.0, x_hat.view()); };
    step();
    if (!finite(b, x_hat.cview())) return fail(state, "not finite");
    timed(state, b, step);
}

/// Every case, its name after `prefix`.
template <Backend B>
void add_cases(const std::string& prefix) {
    const auto add = [&](const std::string& name, auto f, auto... arguments) {
        benchmark::RegisterBenchmark((prefix + name).c_str(), f, arguments...)
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
    };
    add("sense/columns", sense<B>, product::both_ways, false);
    add("sense/full", sense<B>, product::both_ways, true);
    add("normal/columns", sense<B>, product::normal, false);
    add("normal/full", sense<B>, product::normal, true);
    add("espirit", espirit<B>);
    add("cg_sense", cg_sense<B>);
    for (const index_t iterations : {1, 3}) {
        const std::string name = "mmps" + std::to_string(iterations);
        add(name + "/small", mmps_step<B>, false, iterations);
        if (!smoke()) add(name + "/paper", mmps_step<B>, true, iterations);
    }
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace mri_cases
