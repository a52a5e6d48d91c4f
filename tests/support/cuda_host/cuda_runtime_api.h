// SPDX-License-Identifier: Apache-2.0
#pragma once

// Thrust asks for it, also where its device is the host, and then for the types of short vectors.
#if __has_include(<vector_types.h>)
#include <vector_types.h>
#endif

#include "cuda_runtime.h"
