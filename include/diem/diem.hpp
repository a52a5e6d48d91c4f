// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// Everything that a host compiler can build. Written by tools/headers: do not edit.

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/core/version.hpp>
#include <diem/core/view.hpp>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/backend/eigen/elementwise.hpp>
#include <diem/backend/eigen/random.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/operand.hpp>
#include <diem/backend/reference.hpp>
#include <diem/backend/thread_pool.hpp>

#include <diem/em/fit.hpp>

#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/config.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <diem/linop/concept.hpp>

#include <diem/solver/cg.hpp>
#include <diem/solver/status.hpp>

#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/harmonic.hpp>

#include <diem/posterior/observation.hpp>

#include <diem/train/augmentation.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/shuffle.hpp>
