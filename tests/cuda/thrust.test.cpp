// SPDX-License-Identifier: Apache-2.0
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/reduce.h>
#include <thrust/sequence.h>

#include <string>
#include <utility>
#include <vector>

#include <diem/thrust.cuh>

#include "support/catch.hpp"

using namespace diem;

namespace {
using B = cuda_backend<float>;

thrust::device_vector<float> counting(std::size_t n) {
    thrust::device_vector<float> v(n);
    thrust::sequence(v.begin(), v.end());
    static_cast<void>(cudaDeviceSynchronize());
    return v;
}
}  // namespace

TEST_CASE("thrust: a vector is seen as a batch, in place", "[cuda]") {
    B b;
    auto v = counting(12);
    const view_t<B> x = as_view(v, 3, 4);
    CHECK(x.data().unwrap() == thrust::raw_pointer_cast(v.data()));
    CHECK(x.features() == 3);
    CHECK(x.items() == 4);
    b.axpby(0.0, x, 2.0, x);
    b.synchronize();
    const thrust::host_vector<float> out = v;
    for (std::size_t k = 0; k < 12; ++k) CHECK(out[k] == 2.0F * static_cast<float>(k));
    const thrust::device_vector<float>& fixed = v;
    const const_view_t<B> c = as_view(fixed, 12, 1);
    CHECK(c.data().unwrap() == thrust::raw_pointer_cast(v.data()));
    CHECK(as_view(v).size() == 12);
    CHECK(as_view(fixed).size() == 12);
}

TEST_CASE("thrust: a batch may own a vector", "[cuda]") {
    B b;
    auto v = counting(6);
    const float* const place = thrust::raw_pointer_cast(v.data());
    const auto asked = b.memory().allocations();
    batch<B> x = as_batch(b, std::move(v), 2, 3);
    CHECK(x.view().data().unwrap() == place);
    CHECK(b.memory().allocations() == asked);
    CHECK(b.memory().bytes_in_use() == 0);
    b.fill(x.view().item_range(1, 1), 7.0F);
    batch<B> moved = std::move(x);
    x = batch<B>(b, 4, 4);
    // Through memory of the pool: what the host reads here is the device's.
    batch<B> copy(b, 2, 3);
    b.copy(moved.cview(), copy.view());
    CHECK(to_host(b, copy) == std::vector<float>{0, 1, 7, 7, 4, 5});
}

TEST_CASE("thrust: algorithms go over views, on the backend's stream", "[cuda]") {
    B b;
    auto v = counting(10);
    const view_t<B> x = as_view(v, 5, 2);
    b.axpby(0.0, x, 3.0, x);
    CHECK(thrust::reduce(execution(b), thrust_begin(x), thrust_end(x), 0.0F) == 135.0F);
    CHECK(thrust_end(as_view(v)) - thrust_begin(as_view(v)) == 10);
}

TEST_CASE("thrust: what does not fit is refused", "[cuda]") {
    B b;
    auto v = counting(12);
    CHECK_THROWS_AS(as_view(v, 3, 5), shape_error);
    CHECK_THROWS_AS(as_view(v, -3, -4), shape_error);
    CHECK_THROWS_AS(as_view(v, index_t{1} << 62, 8), shape_error);
    CHECK_THROWS_AS(as_batch(b, counting(4), 2, 3), shape_error);
    const view_t<B> x = as_view(v, 3, 4);
    CHECK_THROWS_AS(thrust_begin(x.feature_range(0, 2)), shape_error);
    CHECK_NOTHROW(thrust_begin(x.item_range(1, 2)));
}

TEST_CASE("cuda: a backend works on the caller's stream and leaves it alone", "[cuda]") {
    cudaStream_t stream = nullptr;
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    {
        B b({.stream = stream});
        CHECK(b.stream() == stream);
        batch<B> x(b, 3, 1);
        b.fill(x.view(), 2.0F);
        CHECK(to_host(b, x) == std::vector<float>{2, 2, 2});
    }
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    CHECK(B(on(thrust::cuda::par.on(stream))).stream() == stream);
    CHECK(B(on(thrust::cuda::par_nosync.on(stream), {.products = product_precision::tf32})).stream() == stream);
    CHECK(B(on(thrust::cuda::par)).stream() == cudaStreamLegacy);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
#endif
}
