// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "gaussian/run.hpp"

namespace toy {

int run_on_eigen(const program_options& o) {
    diem::eigen_backend<double> b(o.at.threads);
    return run(b, o);
}

}  // namespace toy
