// SPDX-License-Identifier: Apache-2.0
#include <diem/diem.hpp>

const char* version_in_two();

/// Both units see the same variable, not a copy each.
int main() { return diem::version == version_in_two() ? 0 : 1; }
