// SPDX-License-Identifier: Apache-2.0
#include "diem/draw.hpp"
#include "diem/evaluate.hpp"
#include "diem/fit.hpp"
#include "support/cuda_place.cuh"

namespace program {

int run_on_cuda(const fit_command& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    return fit(b, o);
}
int run_on_cuda(const sample_command& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    return sample(b, o);
}
int run_on_cuda(const posterior_command& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    return posterior(b, o);
}
int run_on_cuda(const evaluate_command& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    diem::cuda_backend<double> wide({.device = o.at.device});
    return evaluate(b, wide, o);
}

}  // namespace program
