// SPDX-License-Identifier: Apache-2.0
// Refused: a symmetric operator as the covariance of the noise.
#include <diem/backend/reference.hpp>
#include <diem/linop/identity.hpp>
#include <diem/posterior/observation.hpp>

int main() {
    diem::reference_backend<float> b;
    const diem::batch<diem::reference_backend<float>> y(b, 2, 1);
    return static_cast<int>(
        diem::posterior::observe(b, y.view(), diem::linop::identity(2), diem::linop::scaling(2, 0.01)).items());
}
