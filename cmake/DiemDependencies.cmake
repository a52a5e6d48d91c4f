# SPDX-License-Identifier: Apache-2.0
# A system package first; its source, fetched, where there is none. A library installed with fetched dependencies would
# not be found again, so then there are no install rules.
include(FetchContent)

find_package(Threads REQUIRED)

find_package(Eigen3 3.4 QUIET NO_MODULE)
if(NOT TARGET Eigen3::Eigen)
    message(STATUS "diem: Eigen 3.4 not found, fetching it")
    # Its own build files are not used: they would bring its tests and options along.
    FetchContent_Declare(diem_eigen URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
        SOURCE_SUBDIR none)
    FetchContent_MakeAvailable(diem_eigen)
    add_library(diem_eigen_fetched INTERFACE IMPORTED GLOBAL)
    target_include_directories(diem_eigen_fetched SYSTEM INTERFACE "${diem_eigen_SOURCE_DIR}")
    add_library(Eigen3::Eigen ALIAS diem_eigen_fetched)
    set(DIEM_INSTALL OFF)
endif()

find_package(nlohmann_json 3.11 QUIET)
if(NOT TARGET nlohmann_json::nlohmann_json)
    message(STATUS "diem: nlohmann/json 3.11 not found, fetching it")
    FetchContent_Declare(diem_json URL https://github.com/nlohmann/json/releases/download/v3.11.2/json.tar.xz)
    FetchContent_MakeAvailable(diem_json)
    set(DIEM_INSTALL OFF)
endif()

if(DIEM_BUILD_TESTS)
    find_package(Catch2 3 QUIET)
    if(NOT TARGET Catch2::Catch2WithMain)
        find_package(Catch2 2.13 QUIET)
    endif()
    if(NOT TARGET Catch2::Catch2WithMain)
        message(STATUS "diem: Catch2 not found, fetching it")
        FetchContent_Declare(diem_catch2 GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.4.0
            GIT_SHALLOW ON)
        FetchContent_MakeAvailable(diem_catch2)
    endif()
endif()

if(DIEM_BUILD_EXAMPLES)
    find_package(CLI11 QUIET)
    if(NOT TARGET CLI11::CLI11)
        message(STATUS "diem: CLI11 not found, fetching it")
        FetchContent_Declare(diem_cli11 GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git GIT_TAG v2.3.2
            GIT_SHALLOW ON)
        FetchContent_MakeAvailable(diem_cli11)
    endif()
endif()

# stb has no CMake package. Only PNG and JPEG output and input need it.
if(DIEM_BUILD_EXAMPLES OR DIEM_BUILD_TESTS OR DIEM_BUILD_PYTHON OR DIEM_FUZZ)
    find_path(DIEM_STB_INCLUDE_DIR stb/stb_image_write.h DOC "The folder that holds stb/stb_image_write.h")
    if(NOT DIEM_STB_INCLUDE_DIR)
        message(STATUS "diem: stb not found, fetching it")
        FetchContent_Declare(diem_stb_source GIT_REPOSITORY https://github.com/nothings/stb.git GIT_TAG master
            GIT_SHALLOW ON SOURCE_DIR "${CMAKE_BINARY_DIR}/_deps/stb_parent/stb")
        FetchContent_MakeAvailable(diem_stb_source)
        set(DIEM_STB_INCLUDE_DIR "${CMAKE_BINARY_DIR}/_deps/stb_parent")
    endif()
    add_library(diem_stb INTERFACE)
    target_include_directories(diem_stb SYSTEM INTERFACE "${DIEM_STB_INCLUDE_DIR}")
endif()

if(DIEM_BUILD_BENCHMARKS)
    find_package(benchmark QUIET)
    if(NOT TARGET benchmark::benchmark)
        message(STATUS "diem: Google Benchmark not found, fetching it")
        set(BENCHMARK_ENABLE_TESTING OFF)
        FetchContent_Declare(diem_benchmark GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.8.3
            GIT_SHALLOW ON)
        FetchContent_MakeAvailable(diem_benchmark)
    endif()
endif()
