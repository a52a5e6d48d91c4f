// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "diem/draw.hpp"
#include "diem/evaluate.hpp"
#include "diem/fit.hpp"

namespace program {

int run_on_eigen(const fit_command& o) {
    diem::eigen_backend<float> b(o.at.threads);
    return fit(b, o);
}
int run_on_eigen(const sample_command& o) {
    diem::eigen_backend<float> b(o.at.threads);
    return sample(b, o);
}
int run_on_eigen(const posterior_command& o) {
    diem::eigen_backend<float> b(o.at.threads);
    return posterior(b, o);
}
int run_on_eigen(const evaluate_command& o) {
    diem::eigen_backend<float> b(o.at.threads);
    diem::eigen_backend<double> wide(b.threads());
    return evaluate(b, wide, o);
}

}  // namespace program
