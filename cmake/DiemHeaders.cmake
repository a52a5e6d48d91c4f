# SPDX-License-Identifier: Apache-2.0
# Written by tools/headers: do not edit.
set(DIEM_HEADERS
    include/diem/backend/batch.hpp
    include/diem/backend/concept.hpp
    include/diem/backend/eigen.hpp
    include/diem/backend/eigen/elementwise.hpp
    include/diem/backend/eigen/random.hpp
    include/diem/backend/memory.hpp
    include/diem/backend/operand.hpp
    include/diem/backend/reference.hpp
    include/diem/backend/thread_pool.hpp
    include/diem/core/check.hpp
    include/diem/core/error.hpp
    include/diem/core/macros.hpp
    include/diem/core/random.hpp
    include/diem/core/version.hpp
    include/diem/core/view.hpp
    include/diem/diem.hpp
    include/diem/diffusion/concept.hpp
    include/diem/io/array.hpp
    include/diem/io/atomic.hpp
    include/diem/io/detail/input_file.hpp
    include/diem/io/dtype.hpp
    include/diem/io/json.hpp
    include/diem/io/safetensors.hpp
    include/diem/linop/concept.hpp)
set(DIEM_DEVICE_HEADERS)
