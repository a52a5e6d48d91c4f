// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "diem/gaussian_stage.hpp"

template struct program::gaussian_stage<diem::eigen_backend<float>>;
