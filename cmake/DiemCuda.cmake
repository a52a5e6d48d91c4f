# SPDX-License-Identifier: Apache-2.0
# The CUDA backend: target diem::cuda, and what the project's own CUDA units are built with.
#
#   DIEM_CUDA       build the tests with nvcc, for a device
#   DIEM_CUDA_HOST  build the same tests with the C++ compiler on the stand-in of tests/support/cuda_host: no CUDA needed
option(DIEM_CUDA "Build with nvcc: the tests run on a CUDA device" OFF)
option(DIEM_CUDA_HOST "Run the tests of the CUDA backend on the host, without CUDA" OFF)
if(DIEM_CUDA AND DIEM_CUDA_HOST)
    message(FATAL_ERROR "diem: DIEM_CUDA and DIEM_CUDA_HOST exclude one another")
endif()

# What runs on the CUDA backend links diem::cuda.
if(DIEM_CUDA)
    include(CheckLanguage)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
        message(FATAL_ERROR "diem: DIEM_CUDA is on, but no CUDA compiler was found (set CMAKE_CUDA_COMPILER, or PATH)")
    endif()
    if(NOT CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "Architectures of the devices")
    endif()
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know the option of nvcc
        set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
        set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
        list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
        set(CMAKE_CUDA20_COMPILE_FEATURES cuda_std_20)
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    find_package(CUDAToolkit REQUIRED)
    add_library(diem_cuda INTERFACE)
    target_link_libraries(diem_cuda INTERFACE diem CUDA::cudart CUDA::cublas CUDA::cufft CUDA::cusolver)
    target_compile_definitions(diem_cuda INTERFACE EIGEN_NO_CUDA)
    add_library(diem::cuda ALIAS diem_cuda)
elseif(DIEM_CUDA_HOST)
    add_library(diem_cuda INTERFACE)
    target_link_libraries(diem_cuda INTERFACE diem)
    target_include_directories(diem_cuda INTERFACE "${PROJECT_SOURCE_DIR}/tests/support/cuda_host")
    add_library(diem::cuda ALIAS diem_cuda)
endif()
