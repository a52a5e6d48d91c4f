// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>

#include <diem/diem.hpp>

#if DIEM_VERSION_MAJOR == 0 && DIEM_VERSION_MINOR == 0 && DIEM_VERSION_PATCH == 0
#error "no version"
#endif

int main() {
    float data[6] = {};
    const diem::host_view<float> batch(data, 3, 2);
    diem::check_shape("main", "batch", batch, 3, 2);
    std::printf("diem %s, a batch of %td\n", diem::version, batch.size());
    const std::string expected = std::to_string(DIEM_VERSION_MAJOR) + "." + std::to_string(DIEM_VERSION_MINOR) + "." +
                                 std::to_string(DIEM_VERSION_PATCH);
    return expected == diem::version ? 0 : 1;
}
