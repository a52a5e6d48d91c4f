// SPDX-License-Identifier: Apache-2.0

// Prints what the backend reaches on this device: bandwidth of element-wise passes, products, the MMPS step and the training
// step of the CIFAR U-Net. Run by tools/gpu_check.    measure [batch = 256]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

#if defined(DIEM_TEST_CUDNN)
#include <diem/cudnn.cuh>
#else
#include <diem/cuda.cuh>
#endif
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>

using namespace diem;

namespace {

#if defined(DIEM_TEST_CUDNN)
using B = cuda_backend<float, cudnn_conv3x3>;
#else
using B = cuda_backend<float>;
#endif

/// Seconds of one call, by events on the stream, after two calls that warm up.
template <class F>
double seconds(B& b, int repeats, const F& f) {
    cudaEvent_t from = nullptr, to = nullptr;
    detail::cuda::checked(cudaEventCreate(&from), "cudaEventCreate");
    detail::cuda::checked(cudaEventCreate(&to), "cudaEventCreate");
    for (int k = 0; k < 2; ++k) f();
    detail::cuda::checked(cudaEventRecord(from, b.stream()), "cudaEventRecord");
    for (int k = 0; k < repeats; ++k) f();
    detail::cuda::checked(cudaEventRecord(to, b.stream()), "cudaEventRecord");
    detail::cuda::checked(cudaEventSynchronize(to), "cudaEventSynchronize");
    float ms = 0;
    detail::cuda::checked(cudaEventElapsedTime(&ms, from, to), "cudaEventElapsedTime");
    static_cast<void>(cudaEventDestroy(from));
    static_cast<void>(cudaEventDestroy(to));
    return ms / 1e3 / repeats;
}

void primitives(B& b) {
    const index_t n = index_t{1} << 27;
    batch<B> x(b, n, 1), y(b, n, 1);
    b.fill(x.view(), 1.0F);
    b.fill(y.view(), 2.0F);
    const double axpby = seconds(b, 20, [&] { b.axpby(0.5, x.cview(), 0.5, y.view()); });
    std::printf("axpby, 2^27 floats: %.0f GB/s\n", 12.0 * static_cast<double>(n) / axpby / 1e9);
    batch<B, double> out(b, 256, 1);
    const auto items = [&](batch<B>& v) { return const_view_t<B>(v.view().reshaped(n / 256, 256)); };
    const double dot = seconds(b, 20, [&] { b.dot(items(x), items(y), out.flat()); });
    std::printf("dot of 256 items of 2^19 floats: %.0f GB/s\n", 8.0 * static_cast<double>(n) / dot / 1e9);
    const index_t m = 8192;
    batch<B> a(b, m, m), c(b, m, m), d(b, m, m);
    b.fill_normal({1, 0, 0, 0}, a.view());
    b.fill_normal({2, 0, 0, 0}, c.view());
    const double gemm = seconds(b, 5, [&] { b.gemm(1, a.cview(), op::none, c.cview(), op::none, 0, d.view()); });
    std::printf("gemm of 8192: %.1f TFLOP/s\n", 2.0 * static_cast<double>(m * m * m) / gemm / 1e12);
    const index_t side = 320, images = 256;
    batch<B> z(b, 2 * side * side, images);
    b.fill_normal({3, 0, 0, 0}, z.view());
    const double fft = seconds(b, 20, [&] { b.fft2(fft_direction::forward, side, side, z.cview(), z.view()); });
    std::printf("fft2 of 256 images of 320 x 320: %.2f ms\n", 1e3 * fft);
}

void step(B& b, index_t items) {
    model::preconditioned<B, nn::unet<B>> m(b, nn::unet<B>(model::presets::cifar_unet()));
    m.initialize(b, random_key{1});
    const index_t d = m.features();
    batch<B> x(b, d, items), y(b, d, items), mask(b, d, items), out(b, d, items);
    b.fill_normal({2, 0, 0, 0}, x.view());
    b.fill_normal({3, 0, 0, 0}, y.view());
    b.fill(mask.view(), 1.0F);
    b.fill(mask.view().feature_range(0, d / 2), 0.0F);
    const double forward = seconds(b, 3, [&] { m.denoise(b, x.cview(), 0.7, out.view()); });
    std::printf("CIFAR U-Net, batch %td: forward %.1f ms\n", items, 1e3 * forward);
    posterior::mmps p(
        b, m,
        posterior::observe(b, y.cview(), linop::mask<B>::per_item(mask.cview()), linop::isotropic_covariance(d, 1e-4)),
        {.max_iterations = 3, .relative_tolerance = 0});
    const double mmps = seconds(b, 3, [&] { p.denoise(b, x.cview(), 0.7, out.view()); });
    std::printf("MMPS step, 3 iterations: %.1f ms, %.2f steps/s\n", 1e3 * mmps, 1 / mmps);
    batch<B> gradient(b, m.table().size(), 1), sigma(b, 1, items);
    b.fill(sigma.view(), 0.7F);
    const double training = seconds(b, 3, [&] {
        const auto l = m.linearize(b, x.cview(), const_vector_t<B>(sigma.flat()), model::training{0.1, random_key{4}});
        l.vjp_params(b, y.cview(), gradient.flat(), nn::update::overwrite);
    });
    std::printf("forward and gradient of the parameters: %.1f ms\n", 1e3 * training);
    std::printf("memory at most %.2f GB\n", static_cast<double>(b.memory().peak_bytes()) / 1e9);
}

}  // namespace

int main(int argc, char** argv) try {
    const index_t items = argc > 1 ? std::atoll(argv[1]) : 256;
    constexpr std::pair<const char*, product_precision> products[] = {
        {"float32", product_precision::float32}, {"tf32", product_precision::tf32}, {"bf16", product_precision::bf16}};
    for (const auto& [name, precision] : products) {
        std::printf("== %s\n", name);
        B b({.products = precision});
        primitives(b);
        step(b, items);
    }
    return 0;
} catch (const std::exception& e) {
    std::fprintf(stderr, "measure: %s\n", e.what());
    return 1;
}
