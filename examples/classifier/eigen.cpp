// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "classifier/run.hpp"

namespace classify {

int run_on_eigen(const settings& s, const program_options& o) {
    diem::eigen_backend<float> b(o.at.threads);
    diem::eigen_backend<double> wide(b.threads());
    return run(b, wide, s, o);
}

}  // namespace classify
