// SPDX-License-Identifier: Apache-2.0

// Observations in a thrust::device_vector, posterior samples in another one, and no copy between Thrust and diem: smooth
// signals of which every other number was seen. One stream, the caller's, orders the work of both.
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/transform_reduce.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include <diem/thrust.cuh>

/// (m x - y)^2 of number k.
struct squared_misfit {
    const float *x, *y, *mask;
    diem::index_t features;
    DIEM_HOST_DEVICE double operator()(diem::index_t k) const {
        const double r = static_cast<double>(mask[k % features] * x[k] - y[k]);
        return r * r;
    }
};

int main() {
    using backend = diem::cuda_backend<float>;
    const diem::index_t n = 16, samples = 512;

    // What a program that uses Thrust has: a stream, and vectors. Item after item, 0 where nothing was seen.
    cudaStream_t stream = nullptr;
    if (cudaStreamCreate(&stream) != cudaSuccess) return 1;
    thrust::host_vector<float> seen(n * samples), mask(n);
    for (diem::index_t j = 0; j < n; ++j) {
        mask[j] = j % 2 == 0 ? 1.0F : 0.0F;
        for (diem::index_t i = 0; i < samples; ++i) seen[i * n + j] = mask[j] * std::cos(0.3F * static_cast<float>(j));
    }
    const thrust::device_vector<float> y = seen, m = mask;
    thrust::device_vector<float> x(n * samples);
    cudaDeviceSynchronize();

    // The backend works on that stream, on that memory.
    backend b({.stream = stream});
    std::vector<float> u(n * 4);
    for (diem::index_t k = 0; k < 4; ++k)
        for (diem::index_t j = 0; j < n; ++j)
            u[k * n + j] = std::cos(3.14159F * static_cast<float>(k) * (static_cast<float>(j) + 0.5F) / n) / (1 + k);
    diem::diffusion::gaussian<backend> prior(b, diem::to_backend(b, std::vector<float>(n, 0), n, 1),
                                             diem::to_backend(b, std::vector<float>(n, 0.01F), n, 1),
                                             diem::to_backend(b, u, n, 4));
    // [thrust.cuh]
    diem::posterior::mmps posterior(
        b, prior,
        diem::posterior::observe(b, diem::as_view(y, n, samples), diem::linop::mask<backend>::shared(diem::as_view(m)),
                                 diem::linop::isotropic_covariance(n, 0.1 * 0.1)),
        {.max_iterations = 8, .relative_tolerance = 1e-3});
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::dpm_solver_2m_sde{},
                            {.steps = 32}, diem::random_key{.seed = 3}, diem::as_view(x, n, samples));
    // [thrust.cuh]

    // Thrust goes on with the samples, on the same stream: how far are they from what was seen?
    const squared_misfit misfit{thrust::raw_pointer_cast(x.data()), thrust::raw_pointer_cast(y.data()),
                                thrust::raw_pointer_cast(m.data()), n};
    const thrust::counting_iterator<diem::index_t> first(0);
    const double sum =
        thrust::transform_reduce(diem::execution(b), first, first + n * samples, misfit, 0.0, thrust::plus<double>());
    const double deviation = std::sqrt(sum / static_cast<double>(n / 2 * samples));
    std::printf("%td samples; what was seen is met to %.3f, its noise is 0.1\n", samples, deviation);
    cudaStreamDestroy(stream);
    return deviation > 0.05 && deviation < 0.15 ? 0 : 1;
}
