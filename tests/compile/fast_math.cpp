// SPDX-License-Identifier: Apache-2.0

// Compiled with and without -ffast-math by flags.cmake.
#include <diem/core/view.hpp>
