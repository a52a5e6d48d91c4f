# SPDX-License-Identifier: Apache-2.0
# What the project's own tests, examples and benchmarks are built with. Nothing of this reaches a user of diem::diem.
#   diem_flags        compiler options
#   diem_development  these, and the functions of the Eigen backend that take long to compile, compiled once
add_library(diem_flags INTERFACE)
target_link_libraries(diem_flags INTERFACE diem::diem)

# Eigen only runs on the host here. Without this definition it would lose its vector code in units built by nvcc, and one
# program must not hold both versions of its functions.
target_compile_definitions(diem_flags INTERFACE EIGEN_NO_CUDA)

target_compile_options(diem_flags INTERFACE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-Wall -Wextra -Wpedantic -Wshadow>
    $<$<AND:$<BOOL:${DIEM_WERROR}>,$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>>:-Werror>)

# The processor: AVX-512 gets x86-64-v4, AVX2 gets x86-64-v3. Never a plain -march=native: g++ 12 then tunes for an older
# core than the one it finds, which costs Eigen's matrix product about 30 %.
set(DIEM_ARCH_FLAGS "")
if(DIEM_NATIVE AND NOT CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    include(CheckCXXSourceRuns)
    set(diem_probe "#define has(x) __builtin_cpu_supports(x)\nint main() { __builtin_cpu_init(); return !(")
    set(diem_v3 "has(\"avx2\") && has(\"fma\") && has(\"bmi2\")")
    set(diem_v4 "has(\"avx512f\") && has(\"avx512bw\") && has(\"avx512cd\") && has(\"avx512dq\") && has(\"avx512vl\")")
    check_cxx_source_runs("${diem_probe}${diem_v3} && ${diem_v4}); }" DIEM_RUNS_X86_64_V4)
    check_cxx_source_runs("${diem_probe}${diem_v3}); }" DIEM_RUNS_X86_64_V3)
    if(DIEM_RUNS_X86_64_V4)
        set(DIEM_ARCH_FLAGS -march=x86-64-v4)
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            # g++ 12 reports uninitialised values inside its own avx512fintrin.h.
            list(APPEND DIEM_ARCH_FLAGS -Wno-maybe-uninitialized -Wno-uninitialized)
        endif()
    elseif(DIEM_RUNS_X86_64_V3)
        set(DIEM_ARCH_FLAGS -march=x86-64-v3)
    endif()
endif()
target_compile_options(diem_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${DIEM_ARCH_FLAGS}>)
# Units of nvcc: its own warnings, and the same processor for their host code.
target_compile_options(diem_flags INTERFACE
    $<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=-Wall,-Wextra>
    $<$<AND:$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>,$<BOOL:${DIEM_WERROR}>>:--Werror=all-warnings>)
if(DIEM_ARCH_FLAGS)
    list(JOIN DIEM_ARCH_FLAGS "," diem_cuda_arch_flags)
    target_compile_options(diem_flags INTERFACE
        "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=${diem_cuda_arch_flags}>")
    list(GET DIEM_ARCH_FLAGS 0 diem_arch_message)
    message(STATUS "diem: tests, examples and benchmarks are built with ${diem_arch_message}")
endif()

# diem_add_cuda_units(TARGET SOURCE...): units of a program for the CUDA backend, by nvcc or, on the stand-in of the device,
# by the C++ compiler: optimised, for what it stands for is fast; clang says then which loops it does not vectorise.
function(diem_add_cuda_units target)
    target_sources(${target} PRIVATE ${ARGN})
    target_link_libraries(${target} PRIVATE diem::cuda)
    if(DIEM_CUDA_HOST)
        set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-O1;-Wno-pass-failed")
    endif()
endfunction()

# See include/diem/backend/eigen/instantiate.hpp.
foreach(scalar IN ITEMS float double)
    file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/eigen_${scalar}.cpp"
        CONTENT "#include <diem/backend/eigen/instantiate.hpp>\nDIEM_INSTANTIATE_EIGEN(, ${scalar})\n" @ONLY)
endforeach()
add_library(diem_eigen STATIC
    "${CMAKE_CURRENT_BINARY_DIR}/eigen_float.cpp" "${CMAKE_CURRENT_BINARY_DIR}/eigen_double.cpp")
target_link_libraries(diem_eigen PRIVATE diem_flags)
# For the Python package, too, which is a shared library.
set_target_properties(diem_eigen PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
add_library(diem_development INTERFACE)
target_link_libraries(diem_development INTERFACE diem_flags diem_eigen)
target_compile_definitions(diem_development INTERFACE DIEM_EXTERN_TEMPLATES)
