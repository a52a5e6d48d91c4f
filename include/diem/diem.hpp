// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All algorithms and the Eigen backend: everything for a host compiler. Written by tools/headers: do not edit.

#include <diem/algorithms.hpp>

#include <diem/backend/eigen.hpp>

#include <diem/instantiate.hpp>
