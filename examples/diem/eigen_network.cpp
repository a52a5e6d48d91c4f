// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen.hpp>

#include "diem/network_stage.hpp"

template struct program::network_stage<diem::eigen_backend<float>>;
