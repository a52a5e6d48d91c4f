// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/core/error.hpp>
#include <diem/core/version.hpp>
#include <diem/io/json.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/prior/data_sketch.hpp>

/// \file
/// Internal: whether what is stored, or what another rank is about to learn, is this run.

namespace diem::prior::detail {

/// The first entry that another description of a run has otherwise than this one's, in words; empty: none.
[[nodiscard]] inline std::string difference_of(const io::json& other, const io::json& now) {
    for (const auto& [key, value] : now.items()) {
        const auto at = other.find(key);
        if (at != other.end() && (*at == value || is_same_sketch(*at, value))) continue;
        return "another \"" + key + "\": " + (at != other.end() ? at->dump() : std::string("none")) + ", now " +
               value.dump();
    }
    return {};
}
/// A description, of a run or of how to draw, that was written before an option was there, with what was done then.
[[nodiscard]] inline io::json completed(io::json stored) {
    for (const char* key : {"posterior", "initial_posterior"})
        if (const auto at = stored.find(key); at != stored.end() && at->is_object())
            at->emplace("converge_gaussian", false);
    if (stored.is_object()) stored.emplace("start_at", "noise");
    return stored;
}
/// Throws config_error, naming the entry, where a stored description of a run differs from this one's.
inline void check_same_run(const std::string& where, const io::json& stored, const io::json& now) {
    auto whole = completed(stored);
    if (whole.is_object()) whole.emplace("observations_per_lap", 0);
    if (const auto text = difference_of(whole, now); !text.empty())
        throw config_error(where + ": the run in it was made with " + text);
}
/// Ends all ranks, naming the entry, where one is to learn something else than rank 0, or by another version.
template <class Run>
void check_ranks(const Run& run, io::json now) {
    if (run.ranks.size() == 1) return;
    now["version"] = version;
    const auto first = io::json::parse(parallel::broadcast(run.ranks, now.dump(), 0, "what rank 0 is to learn"));
    if (const auto text = difference_of(first, now); !text.empty()) run.ranks.abort("rank 0 has " + text);
    run.ranks.barrier("all being about to learn the same");
}

}  // namespace diem::prior::detail
