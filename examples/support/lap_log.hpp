// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/core/view.hpp>
#include <diem/io/json.hpp>

namespace support {

/// Figures of each lap of a run, JSON objects with an entry "lap", in a file that is written after each: a resumed run still
/// has those of the laps before it.
class lap_log {
public:
    explicit lap_log(std::filesystem::path file) : file_(std::move(file)) {}

    /// What the file holds of laps 0 .. laps - 1, where there is such a file. Throws io_error.
    void restore(diem::index_t laps) {
        if (!std::filesystem::exists(file_)) return;
        const auto stored = diem::io::load_json(file_);
        try {
            for (const auto& entry : stored.at("laps"))
                if (entry.at("lap").get<diem::index_t>() < laps) entries_.push_back(entry);
        } catch (const diem::io::json::exception& e) {
            throw diem::io_error(file_.string() + ": is no log of laps: " + e.what());
        }
    }
    /// In the place of what there was of this lap and of later ones.
    void add(diem::io::json entry) {
        const auto lap = entry.at("lap").get<diem::index_t>();
        std::erase_if(entries_, [&](const diem::io::json& e) { return e.at("lap").get<diem::index_t>() >= lap; });
        entries_.push_back(std::move(entry));
        diem::io::save_json(file_, {{"laps", entries_}});
    }
    [[nodiscard]] const std::vector<diem::io::json>& entries() const { return entries_; }

private:
    std::filesystem::path file_;
    std::vector<diem::io::json> entries_;
};

}  // namespace support
