// SPDX-License-Identifier: Apache-2.0

// What the Eigen backend is made of does not stand in namespace diem: a user's own names do not meet it.
#include <diem/diem.hpp>

using namespace diem;

namespace {
struct conv3x3_shape {};
struct conv3x3_block {};
struct conv3x3_plan {};
struct low_rank_plan {};
enum class conv_algorithm { mine };
enum class conv_pass { mine };
struct simd {};
void conv3x3_forward(conv3x3_shape) {}
}  // namespace

const void* names_of_the_user();
const void* names_of_the_user() {
    static const struct {
        conv3x3_shape a;
        conv3x3_block b;
        conv3x3_plan c;
        low_rank_plan d;
        simd s;
        conv_algorithm e = conv_algorithm::mine;
        conv_pass f = conv_pass::mine;
    } all;
    conv3x3_forward(all.a);
    return &all;
}
