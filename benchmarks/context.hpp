// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include <benchmark/benchmark.h>

#include <diem/backend/product_precision.hpp>

inline std::string from_environment(const char* name, const char* otherwise) {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : otherwise;
}
/// DIEM_THREADS, or 0: one per core.
inline int threads() { return std::stoi(from_environment("DIEM_THREADS", "0")); }
/// DIEM_PRODUCTS, or float32: what products of networks round to.
inline std::string products_name() { return from_environment("DIEM_PRODUCTS", "float32"); }
inline diem::product_precision products() { return diem::product_precision_of(products_name()); }
/// DIEM_SMOKE is set: the smallest sizes.
inline bool smoke() { return std::getenv("DIEM_SMOKE") != nullptr; }

/// With that many threads and these products, where the backend has a choice.
template <class B>
B make_backend() {
    if constexpr (requires { B({.threads = threads(), .products = products()}); })
        return B({.threads = threads(), .products = products()});
    else if constexpr (requires { B(threads()); })
        return B(threads());
    else
        return B();
}

/// Whether a case failed; the program's exit status then says so.
inline bool any_failed = false;
/// Ends a case whose result is wrong.
inline void fail(benchmark::State& state, const std::string& why) {
    state.SkipWithError(why.c_str());
    any_failed = true;
}

/// The loop of a case: each call with all that it queued. Returns the seconds of a call.
template <class B, class F>
double timed(benchmark::State& state, B& b, const F& f) {
    const auto start = std::chrono::steady_clock::now();
    for (auto _ : state) {
        f();
        b.synchronize();
    }
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - start;
    return all.count() / static_cast<double>(state.iterations());
}

/// What every benchmark prints about itself: threads used, cores, compiler flags, commit.
inline void add_context(int threads) {
    benchmark::AddCustomContext("threads", std::to_string(threads));
    benchmark::AddCustomContext("products", products_name());
    benchmark::AddCustomContext("cores", std::to_string(std::thread::hardware_concurrency()));
    benchmark::AddCustomContext("flags", DIEM_BUILD_FLAGS);
    benchmark::AddCustomContext("commit", DIEM_COMMIT);
}

/// The rest of main, once all is registered. The exit status.
inline int run_benchmarks(int argc, char** argv, int threads) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    add_context(threads);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return any_failed ? 1 : 0;
}
