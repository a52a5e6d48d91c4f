// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "guidance/run.hpp"
#include "support/eigen_place.hpp"

namespace guidance {

int run_on_eigen(const settings& s, const program_options& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    diem::eigen_backend<double> wide(b.threads());
    return comparison(b, wide, s, o).run();
}

}  // namespace guidance
