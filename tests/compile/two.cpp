// SPDX-License-Identifier: Apache-2.0
#include <diem/diem.hpp>

const char* version_in_two();

const char* version_in_two() { return diem::version; }
