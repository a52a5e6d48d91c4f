# SPDX-License-Identifier: Apache-2.0
# find_package(CUDNN [version]): target CUDNN::cudnn, and CUDNN_VERSION. Hints: CUDNN_ROOT, as variable or in the environment, then
# the CUDA Toolkit that was found. A library without the link libcudnn.so, as Python packages have it, will do.
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 libcudnn.so.8 NAMES_PER_DIR
    HINTS ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)

set(CUDNN_VERSION "")
if(CUDNN_INCLUDE_DIR)
    set(cudnn_version_file "${CUDNN_INCLUDE_DIR}/cudnn_version.h")
    if(EXISTS "${cudnn_version_file}")
        file(STRINGS "${cudnn_version_file}" cudnn_lines REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) +[0-9]+$")
        list(TRANSFORM cudnn_lines REPLACE ".* " "")
        list(JOIN cudnn_lines "." CUDNN_VERSION)
    endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR VERSION_VAR CUDNN_VERSION)

if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
    add_library(CUDNN::cudnn UNKNOWN IMPORTED)
    # Not as a system folder: nvcc searches the folder of its toolkit before those, and that may have another cudnn.h.
    set_target_properties(CUDNN::cudnn PROPERTIES
        IMPORTED_LOCATION "${CUDNN_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE_DIR}"
        SYSTEM OFF)
endif()
