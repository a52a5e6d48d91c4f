// SPDX-License-Identifier: Apache-2.0

// A U-Net of random weights, from whose posterior sample.cpp draws.
#include <cstdio>

#include <diem/diem.hpp>

#if !defined(DIEM_INSTANTIATED)
#error "the target diem::instantiated did not say that it holds what takes long to compile"
#endif

using backend = diem::eigen_backend<float>;
using network = diem::model::preconditioned<backend, diem::nn::unet<backend>>;

bool sample(backend& b, network& model);

int main() {
    backend b(2);
    network model(b, diem::nn::unet<backend>({8, 8, 1, 1, {8, 8}, {1, 1}, 8, {}}));
    model.initialize(b, {.seed = 1});
    const bool good = sample(b, model);
    std::puts(good ? "sampled" : "samples that are no numbers");
    return good ? 0 : 1;
}
