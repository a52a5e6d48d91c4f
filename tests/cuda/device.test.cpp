// SPDX-License-Identifier: Apache-2.0

// What only a device has: errors, its memory, the grid.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/team.hpp>
#include <diem/cuda.cuh>

#include "support/catch.hpp"
#include "support/message.hpp"

#if !defined(__CUDACC__)
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#endif

using namespace diem;
using test::contains, test::message_of;

static_assert(Backend<cuda_backend<float>> && FineGrained<cuda_backend<float>> && HasConv3x3<cuda_backend<double>>);
static_assert(!HostThreaded<cuda_backend<float>> && !BlockThreaded<cuda_backend<float>>);
static_assert(!CacheBlocked<cuda_backend<float>> && !HasLowRank<cuda_backend<float>>);

namespace {

using B = cuda_backend<float>;

struct add_index {
    DIEM_HOST_DEVICE void operator()(index_t i, float* y) const { y[i] += static_cast<float>(i % 1000) + 1; }
};

/// Row i of whole numbers: doubled in place; its sum before that and its largest number.
struct double_row {
    index_t length;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, float* x, float* sums, float* tops) const {
        float* const row = x + i * length;
        float sum = 0, top = row[0];
        for (index_t j = team.first(); j < length; j += team.step()) {
            sum += row[j];
            top = top < row[j] ? row[j] : top;
            row[j] *= 2;
        }
        sum = team.sum(sum);
        top = team.maximum(top);
        if (team.first() == 0) {
            sums[i] = sum;
            tops[i] = top;
        }
    }
};

}  // namespace

TEST_CASE("cuda: the example of diem/cuda.cuh") {
    // [cuda.cuh]
    diem::cuda_backend<float> b;  // of device 0; each call begins with it, as with any backend
    const auto x = diem::to_backend(b, std::vector<float>{1, 2, 3, 4}, 2, 2);
    diem::batch<diem::cuda_backend<float>> y(b, 2, 2);  // in the memory of the device
    b.axpby(10.0, x.cview(), 0.0, y.view());
    const std::vector<float> on_host = diem::to_host(b, y);  // waits
    // [cuda.cuh]
    CHECK(on_host == std::vector<float>{10, 20, 30, 40});
}

TEST_CASE("cuda: every index once, for sizes around those of the blocks", "[cuda]") {
    B b;
    for (const index_t n : {0, 1, 31, 32, 33, 8191, 8192, 8193, 65535, 65536, 65537, 100003}) {
        batch<B> y(b, n, 1);
        b.fill(y.view(), 0.0F);
        b.launch(n, 1, add_index{}, y.view().data());
        const auto host = to_host(b, y);
        bool good = true;
        for (index_t i = 0; i < n; ++i) good = good && host[std::size_t(i)] == static_cast<float>(i % 1000) + 1;
        CHECK(good);
    }
}

TEST_CASE("cuda: every row once by a team, for lengths around those of the teams", "[cuda]") {
    B b;
    for (const index_t length : {1, 7, 8, 9, 16, 31, 32, 63, 64, 65, 300})
        for (const index_t rows : {1, 5, 33, 1027}) {
            std::vector<float> x(std::size_t(length * rows)), doubled = x, sum(static_cast<std::size_t>(rows)),
                                                              top = sum;
            for (std::size_t k = 0; k < x.size(); ++k) {
                const std::size_t i = k / std::size_t(length);
                x[k] = static_cast<float>(k * 37 % 101) - 200;
                doubled[k] = 2 * x[k];
                sum[i] += x[k];
                top[i] = k % std::size_t(length) == 0 ? x[k] : std::max(top[i], x[k]);
            }
            auto values = to_backend(b, x, length, rows);
            batch<B> sums(b, rows, 1), tops(b, rows, 1);
            launch_rows(b, rows, length, length, double_row{length}, values.view().data(), sums.view().data(),
                        tops.view().data());
            CHECK(to_host(b, values) == doubled);
            CHECK(to_host(b, sums) == sum);
            CHECK(to_host(b, tops) == top);
        }
}

TEST_CASE("cuda: sums repeat bit for bit, and do not depend on the other items", "[cuda]") {
    B b;
    for (const index_t n : {1, 64, 65, 255, 8192, 8193, 70001}) {
        batch<B> x(b, n, 5);
        b.fill_normal({3, 1, 0, 0}, x.view());
        batch<B, double> all(b, 5, 1), again(b, 5, 1), one(b, 1, 1);
        b.dot(x.cview(), x.cview(), all.flat());
        b.dot(x.cview(), x.cview(), again.flat());
        CHECK(to_host(b, all) == to_host(b, again));
        b.dot(x.cview().item_range(3, 1), x.cview().item_range(3, 1), one.flat());
        CHECK(to_host(b, one)[0] == to_host(b, all)[3]);
    }
}

TEST_CASE("cuda: strided batches go to the device and back", "[cuda]") {
    B b;
    std::vector<float> host(7 * 11), back(9 * 11, -1);
    for (std::size_t k = 0; k < host.size(); ++k) host[k] = static_cast<float>(k);
    batch<B> x(b, 8, 11);
    b.fill(x.view(), -2.0F);
    b.upload(host_view<const float>(host.data(), 5, 11, 7), x.view().feature_range(2, 5));
    b.download(const_view_t<B>(x.view().feature_range(1, 7)), host_view<float>(back.data(), 7, 11, 9));
    for (std::size_t i = 0; i < 11; ++i) {
        CHECK(back[9 * i] == -2);
        for (std::size_t j = 0; j < 5; ++j) REQUIRE(back[9 * i + 1 + j] == host[7 * i + j]);
        CHECK(back[9 * i + 6] == -2);
        CHECK(back[9 * i + 7] == -1);
    }
}

TEST_CASE("cuda: a device that does not exist is refused", "[cuda]") {
    const int count = cuda_device_count();
    REQUIRE(count >= 1);
    const auto message = message_of([&] { B({.device = count}); });
    CHECK(contains(message, "device " + std::to_string(count) + " of " + std::to_string(count)));
    CHECK(contains(message_of([] { B({.device = -1}); }), "device -1"));
    CHECK(B({.device = count - 1}).ordinal() == count - 1);
}

TEST_CASE("cuda: a Cholesky factor leaves the strict upper triangle", "[cuda]") {
    B b;
    const std::vector<float> spd = {4, 2, 2, 7, 5, 1, 8, 9, 6};  // column-major, rubbish above the diagonal
    for (const index_t count : {1, 3}) {
        std::vector<float> host;
        for (index_t i = 0; i < count; ++i) host.insert(host.end(), spd.begin(), spd.end());
        auto m = to_backend(b, host, 9, count);
        batch<B, int> info(b, count, 1);
        b.cholesky(as_matrices(m.view(), 3, 3), info.flat());
        const auto l = to_host(b, m);
        CHECK(to_host(b, info) == std::vector<int>(std::size_t(count), 0));
        for (std::size_t i = 0; i < std::size_t(count); ++i) {
            CHECK(std::vector<float>{l[9 * i + 3], l[9 * i + 6], l[9 * i + 7]} == std::vector<float>{7, 8, 9});
            CHECK(std::vector<float>{l[9 * i], l[9 * i + 1], l[9 * i + 4]} == std::vector<float>{2, 1, 2});
        }
    }
}

TEST_CASE("cuda: two backends on one device", "[cuda]") {
    B one, two;
    batch<B> x(one, 100, 3), y(two, 100, 3);
    one.fill_normal({1, 2, 3, 4}, x.view());
    two.fill_normal({1, 2, 3, 4}, y.view());
    CHECK(to_host(one, x) == to_host(two, y));
}

TEST_CASE("cuda: buffers may outlive their backend", "[cuda]") {
    batch<B> x;
    {
        B b;
        x = batch<B>(b, 10, 10);
    }
    CHECK(x.features() == 10);
}

#if !defined(__CUDACC__)
// The rest makes the stand-in of the device fail.

TEST_CASE("cuda host: a failing call is named with its code, once", "[cuda]") {
    auto& device = cuda_host::device::get();
    B b;
    batch<B> x(b, 3, 3), y(b, 3, 3);
    b.fill(x.view(), 1.0F);
    b.fill(y.view(), 1.0F);
    const auto fails = [&](const char* call, int code, auto&& f) {
        device.fail_call = call;
        device.fail_code = code;
        const auto message = message_of(f);
        CHECK(device.fail_call.empty());
        CHECK(cudaGetLastError() == cudaSuccess);  // cleared
        CHECK_NOTHROW(f());
        return message;
    };
    const auto fill = [&] { b.fill(x.view(), 1.0F); };
    const auto launch = fails("kernel launch", cudaErrorInvalidConfiguration, fill);
    CHECK(contains(launch, "kernel launch failed: cudaErrorInvalidConfiguration"));
    CHECK(contains(launch, "(9), at grid.cuh:"));
    const auto read = [&] { to_host(b, x); };
    CHECK(contains(fails("cudaMemcpyAsync", 700, read), "cudaMemcpyAsync failed: cudaErrorIllegalAddress"));
    CHECK(contains(fails("cudaStreamSynchronize", 700, read), "cudaStreamSynchronize failed: cudaErrorIllegalAddress"));
    const auto product = [&] { b.gemm(1, x.cview(), op::none, x.cview(), op::none, 0, y.view()); };
    CHECK(contains(fails("cublasgemm", 13, product), "cublasGemmEx failed: CUBLAS_STATUS_EXECUTION_FAILED (13)"));
    batch<B, int> info(b, 1, 1);
    const auto factor = [&] { b.cholesky(matrices_t<B>(y.view().data(), 3, 3, 3, 9, 1), info.flat()); };
    CHECK(contains(fails("cusolverDnpotrf", 6, factor), "cusolverDnSpotrf failed: CUSOLVER_STATUS_EXECUTION_FAILED"));
    batch<B> image(b, 2 * 4 * 6, 2);
    b.fill(image.view(), 1.0F);
    const auto transform = [&] { b.fft2(fft_direction::forward, 4, 6, image.cview(), image.view()); };
    CHECK(contains(fails("cufftMakePlanMany", 8, transform), "cufftMakePlanMany failed: CUFFT_INVALID_SIZE (8)"));
    CHECK(contains(fails("cufftExec", 6, transform), "cufftExecC2C failed: CUFFT_EXEC_FAILED (6), at fft.cuh:"));
    const auto make = [] { B(); };
    CHECK(contains(fails("cudaSetDevice", 101, make), "cudaSetDevice failed"));
    CHECK(contains(fails("cublasCreate", 1, make), "cublasCreate failed: CUBLAS_STATUS_NOT_INITIALIZED (1)"));
    CHECK(contains(fails("cusolverDnCreate", 1, make), "cusolverDnCreate failed: CUSOLVER_STATUS_NOT_INITIALIZED"));
}

TEST_CASE("cuda host: out of memory names what was asked and what is free", "[cuda]") {
    auto& device = cuda_host::device::get();
    B b;
    { const auto cached = b.allocate<float>(1 << 20); }
    CHECK(b.memory().allocations() == 1);
    const std::size_t before = device.capacity;
    device.capacity = device.used() + (1 << 20);
    // What is kept for later goes back first.
    CHECK_NOTHROW(b.allocate<float>((1 << 20) + (1 << 18)));
    const auto more = [&] { const auto block = b.allocate<float>(1 << 22); };
    CHECK_THROWS_AS(more(), memory_error);
    const auto message = message_of(more);
    CHECK(contains(message, "16.0 MiB asked for at once, beside 0.0 MiB in use"));
    CHECK(contains(message, "of the device's memory, "));
    CHECK(contains(message, " free"));
    CHECK(b.memory().bytes_in_use() == 0);
    CHECK(cudaGetLastError() == cudaSuccess);
    device.capacity = before;
    CHECK_NOTHROW(b.allocate<float>(1 << 22));
}

TEST_CASE("cuda host: without a device construction says so", "[cuda]") {
    auto& device = cuda_host::device::get();
    device.count = 0;
    std::string why;
    CHECK(cuda_device_count(&why) == 0);
    CHECK(contains(why, "cudaErrorInsufficientDriver"));
    CHECK(contains(message_of([] { B(); }), "no CUDA device (cudaErrorInsufficientDriver"));
    device.count = 1;
    CHECK(cuda_device_count() == 1);
}

TEST_CASE("cuda host: all memory is given back", "[cuda]") {
    const std::size_t before = cuda_host::device::get().used();
    {
        B b;
        batch<B> x(b, 100, 100), y(b, 10, 10);
        CHECK(cuda_host::device::get().used() > before);
    }
    CHECK(cuda_host::device::get().used() == before);
}

TEST_CASE("cuda host: operands outside the device's memory are refused", "[cuda]") {
    B b;
    batch<B> x(b, 16, 1);
    std::vector<float> host(1024);
    const auto inner = host_view<float>(host.data(), 16, 64);
    CHECK(contains(message_of([&] { b.download(const_view_t<B>(x.view().data(), 16, 64), inner); }),
                   "cudaErrorInvalidValue"));
    const view_t<B> wrong(device_pointer<float>(host.data()), 16, 1);
    CHECK(contains(message_of([&] {
                       b.gemm(1, x.cview(), op::none, const_view_t<B>(wrong).reshaped(1, 1), op::none, 0, x.view());
                   }),
                   "CUBLAS_STATUS_INVALID_VALUE"));
}

TEST_CASE("cuda host: host code that reads device memory crashes", "[cuda]") {
    B b;
    batch<B> x(b, 16, 1);
    b.fill(x.view(), 1.0F);
    const volatile float* const address = x.view().data().unwrap();
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        static_cast<void>(signal(SIGSEGV, SIG_DFL));
        const float value = *address;
        _exit(value == 1 ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
}
#endif

TEST_CASE("cuda: products with rounded operands are options") {
    const index_t n = 37;
    const auto product = [&](product_precision precision, bool batched) {
        B b({.products = precision});
        batch<B> x(b, n, n), y(b, n, n), z(b, n, n);
        b.fill_normal({.seed = 1}, x.view());
        b.fill_normal({.seed = 2}, y.view());
        if (batched)
            b.gemm_batched(1, const_matrices_t<B>(x.cview().data(), n, n, n, n * n, 1), op::transpose,
                           const_matrices_t<B>(y.cview().data(), n, n, n, n * n, 1), op::none, 0,
                           matrices_t<B>(z.view().data(), n, n, n, n * n, 1));
        else
            b.gemm(1, x.cview(), op::transpose, y.cview(), op::none, 0, z.view());
        return to_host(b, z);
    };
    for (const bool batched : {false, true}) {
        const auto exact = product(product_precision::float32, batched);
        const auto largest = [&](product_precision precision) {
            const auto got = product(precision, batched);
            float error = 0;
            for (std::size_t k = 0; k < got.size(); ++k) error = std::max(error, std::abs(got[k] - exact[k]));
            return error;
        };
        // Sums of 37 products of normal numbers, each with a relative error of at most 2^-10 and 2^-7.
        CHECK(largest(product_precision::tf32) <= 37 * 4.0F / 1024);
        CHECK(largest(product_precision::bf16) <= 37 * 4.0F / 128);
#if !defined(__CUDACC__)  // a device may have no such units
        CHECK(largest(product_precision::tf32) > 1e-4F);
        CHECK(largest(product_precision::bf16) > 1e-3F);
#endif
    }
}
