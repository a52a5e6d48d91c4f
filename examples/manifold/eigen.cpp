// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "manifold/run.hpp"
#include "support/eigen_place.hpp"

namespace manifold {

int run_on_eigen(const settings& s, const program_options& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    return run(b, s, o);
}

}  // namespace manifold
