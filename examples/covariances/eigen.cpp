// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "covariances/run.hpp"

namespace covariances {

int run_on_eigen(const settings& s, const program_options& o) {
    diem::eigen_backend<double> b(o.at.threads);
    return run(b, s, o);
}

}  // namespace covariances
