// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "cifar/run.hpp"
#include "support/eigen_place.hpp"

namespace cifar {

int run_on_eigen(const support::cifar_settings& s, const program_options& o) {
    diem::eigen_backend<float> b(support::eigen_options(o.at));
    diem::eigen_backend<double> wide(b.threads());
    return run(b, wide, s, o);
}

}  // namespace cifar
