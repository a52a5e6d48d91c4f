// SPDX-License-Identifier: Apache-2.0
// Compiled for the least processor of its kind, unlike all else: on one that lacks instructions the program, or the module of Python, says so, in place of
// SIGILL somewhere.
#include "support/instructions.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <unistd.h>

namespace {

/// Before the constructors of other units, which may use any instruction.
__attribute__((constructor(101))) void check_instructions() {
    __builtin_cpu_init();
    int here = 0;
    if (__builtin_cpu_supports("avx")) here = 1;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) here = 2;
    if (here == 2 && __builtin_cpu_supports("avx512f")) here = 3;
    if (here >= support_built_for) return;
    static const char avx512[] =
        "diem was built for processors with AVX-512, which this one lacks; build it here, or for "
        "-march=x86-64-v3\n";
    static const char avx2[] =
        "diem was built for processors with AVX2 and FMA, which this one lacks; build it here, or for "
        "-march=x86-64\n";
    const bool most = support_built_for == 3;
    if (::write(STDERR_FILENO, most ? avx512 : avx2, most ? sizeof avx512 - 1 : sizeof avx2 - 1) < 0) ::_exit(1);
    ::_exit(1);
}

}  // namespace
#endif
