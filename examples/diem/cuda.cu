// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "diem/draw.hpp"
#include "diem/evaluate.hpp"
#include "diem/fit.hpp"

namespace program {

int run_on_cuda(const fit_command& o) {
    diem::cuda_backend<float> b;
    return fit(b, o);
}
int run_on_cuda(const sample_command& o) {
    diem::cuda_backend<float> b;
    return sample(b, o);
}
int run_on_cuda(const posterior_command& o) {
    diem::cuda_backend<float> b;
    return posterior(b, o);
}
int run_on_cuda(const evaluate_command& o) {
    diem::cuda_backend<float> b;
    diem::cuda_backend<double> wide;
    return evaluate(b, wide, o);
}

}  // namespace program
