// SPDX-License-Identifier: Apache-2.0

// Two units of one program, told apart by UNIT: see flags.cmake.
#include <diem/backend/eigen/gemm_packed.hpp>

#if UNIT == 1
int other();
int main() { return other(); }
#else
int other();
int other() { return 0; }
#endif
