// SPDX-License-Identifier: Apache-2.0

// Networks, float32, random weights. NAME is `small` (32x32x3, channels 32/64/128, 2 blocks a level, embedding 128, 4 heads
// at level 2), `cifar` (128/256/384, 5 blocks, embedding 256, 4 heads at level 1; 57.6 M parameters) or, of the first three
// rows, `ddpmpp` (EDM's DDPM++ of CIFAR-10) or `adm64` (ADM of ImageNet 64x64), 4 items; ddpm_peer.py times them in PyTorch:
//   forward/NAME, vjp/NAME, jvp/NAME   the denoiser alone; one product with its Jacobian, of kept activations
//   mmps1/NAME, mmps3/NAME             one MMPS posterior mean of 1 and 3 cg iterations, 75 % of the pixels hidden,
//                                      sigma_y 1e-3, sigma_t 1; 16 (small) and 4 (cifar) items
//   train/NAME                         draw, loss, gradient, clipping, Adam, averaging; 64 and 4 items
//   pc_step/mlp                        one predictor-corrector step, two posterior means of two cg iterations each: MLP 3x256
//                                      on R^5, 1024 items, A 2x5 of its own for each
//   train/mlp                          training step, 1024 items
//   train/mlp_one_rank                 the same with a communicator of one rank that is chosen when the program runs
// Every case is checked before it is timed. `gflops` counts 2 x multiply-adds of convolutions (as if direct) and attention.
// `peak_mb` is that of the whole process: run one case at a time (--benchmark_filter) for the case's own.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend, and `cifar_256`, the
// CIFAR U-Net with 256 items in each; `pool_mb` is then what they take of the device's memory.
// DIEM_THREADS sets the number of threads (default: all cores), DIEM_PRODUCTS=bf16 rounds the products of networks;
// DIEM_MOMENTS=bf16 stores Adam's moments in 16 bits, DIEM_MICRO_BATCH=N takes N items through the network at once.
#include <diem/backend/eigen.hpp>

#include "networks/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    networks::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    networks::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
