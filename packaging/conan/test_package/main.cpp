// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <diem/diem.hpp>

int main() {
    diem::eigen_backend<float> b(1);
    diem::batch<diem::eigen_backend<float>> x(b, 3, 2);
    b.fill_normal({.seed = 1}, x.view());
    std::printf("diem %s\n", diem::version);
    b.synchronize();
}
