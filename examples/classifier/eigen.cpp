// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "classifier/run.hpp"
#include "support/eigen_place.hpp"

namespace classify {

int run_on_eigen(const settings& s, const program_options& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    diem::eigen_backend<double> wide(b.threads());
    return run(b, wide, s, o);
}

}  // namespace classify
