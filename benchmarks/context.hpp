// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <thread>

#include <benchmark/benchmark.h>

/// What every benchmark prints about itself: threads used, cores, compiler flags, commit.
inline void add_context(int threads) {
    benchmark::AddCustomContext("threads", std::to_string(threads));
    benchmark::AddCustomContext("cores", std::to_string(std::thread::hardware_concurrency()));
    benchmark::AddCustomContext("flags", DIEM_BUILD_FLAGS);
    benchmark::AddCustomContext("commit", DIEM_COMMIT);
}
