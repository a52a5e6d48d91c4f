// SPDX-License-Identifier: Apache-2.0

// An MMPS step with a U-Net: no host wait, no allocation, and on a device the same step as a graph. Also what a user's unit
// of MMPS with a U-Net costs to compile, see docs/cuda.md.
#include <vector>

#if defined(DIEM_TEST_CUDNN)
#include <diem/cudnn.cuh>
#else
#include <diem/cuda.cuh>
#endif
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {

#if defined(DIEM_TEST_CUDNN)
using B = cuda_backend<float, cudnn_conv3x3>;
#else
using B = cuda_backend<float>;
#endif

struct problem {
    B b;
    index_t items = 3;
    model::preconditioned<B, nn::unet<B>> model{b, nn::unet<B>({8, 8, 3, 1, {16, 24}, {1, 1}, 16, {{1, 2}}})};
    batch<B> x{b, model.features(), items}, y{b, model.features(), items}, mask{b, model.features(), items},
        out{b, model.features(), items};
    posterior::mmps<B, model::preconditioned<B, nn::unet<B>>,
                    posterior::observation<B, linop::mask<B>, linop::isotropic_covariance>>
        posterior;

    // A tolerance of zero: every item takes all iterations, so nobody asks who is still running.
    problem()
        : posterior(b, model,
                    posterior::observe(b, y.cview(), linop::mask<B>::per_item(mask.cview()),
                                       linop::isotropic_covariance(model.features(), 0.01)),
                    {.max_iterations = 3, .relative_tolerance = 0}) {
        model.initialize(b, random_key{1});
        b.fill_normal({2, 0, 0, 0}, x.view());
        b.fill_normal({3, 0, 0, 0}, y.view());
        b.fill(mask.view(), 1.0F);
        b.fill(mask.view().feature_range(0, 50), 0.0F);
    }
    void step() { posterior.denoise(b, x.cview(), 0.7, out.view()); }
};

}  // namespace

TEST_CASE("cuda: a warmed-up MMPS step allocates nothing and repeats bit for bit", "[cuda]") {
    problem p;
    p.step();
    p.step();
    const auto first = to_host(p.b, p.out);
    const auto allocations = p.b.memory().allocations();
    p.step();
    CHECK(p.b.memory().allocations() == allocations);
    CHECK(to_host(p.b, p.out) == first);
}

#if !defined(__CUDACC__)
TEST_CASE("cuda host: an MMPS step of a fixed number of iterations never waits for the device", "[cuda]") {
    problem p;
    p.step();
    const auto& device = cuda_host::device::get();
    const auto waits = device.waits, kernels = device.kernels;
    p.step();
    CHECK(device.waits == waits);
    CHECK(device.kernels > kernels);
}
#else
TEST_CASE("cuda: an MMPS step is captured as a graph", "[cuda]") {
    problem p;
    p.step();
    p.step();
    const auto expected = to_host(p.b, p.out);
    p.b.fill(p.out.view(), 0.0F);
    p.b.synchronize();
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamBeginCapture(p.b.stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    p.step();
    REQUIRE(cudaStreamEndCapture(p.b.stream(), &graph) == cudaSuccess);
    cudaGraphExec_t run = nullptr;
    REQUIRE(cudaGraphInstantiate(&run, graph, 0) == cudaSuccess);
    for (int k = 0; k < 3; ++k) REQUIRE(cudaGraphLaunch(run, p.b.stream()) == cudaSuccess);
    CHECK(to_host(p.b, p.out) == expected);
    CHECK(cudaGraphExecDestroy(run) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
}
#endif
