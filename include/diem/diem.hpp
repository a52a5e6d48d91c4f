// SPDX-License-Identifier: Apache-2.0
// Written by tools/headers: do not edit.
#pragma once

/// \file
/// All algorithms and the Eigen backend: everything for a host compiler.
/// \snippet examples/learn.cpp observe
/// \snippet examples/learn.cpp learn
/// \snippet examples/learn.cpp sample

#include <diem/algorithms.hpp>

#include <diem/backend/eigen.hpp>

#include <diem/instantiate.hpp>
