// SPDX-License-Identifier: Apache-2.0
// Built for any processor of its kind, on one that has more: --help and `diem doctor` say so.
#include <cstdio>

#include "support/simd_note.hpp"

int main() { std::puts(support::instructions_note().c_str()); }
