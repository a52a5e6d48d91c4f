// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "diem/draw.hpp"
#include "diem/evaluate.hpp"
#include "diem/fit.hpp"
#include "support/eigen_place.hpp"

namespace program {

int run_on_eigen(const fit_command& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    return fit(b, o);
}
int run_on_eigen(const sample_command& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    return sample(b, o);
}
int run_on_eigen(const posterior_command& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    return posterior(b, o);
}
int run_on_eigen(const evaluate_command& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    diem::eigen_backend<double> wide(b.threads());
    return evaluate(b, wide, o);
}

}  // namespace program
