// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/error.hpp>
#include <diem/io/json.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/diagnostics_json.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/prior/same_run.hpp>

/// \file
/// Internal: the samples of a lap in the folder of a run. Each rank writes what it drew since it wrote last into a file of its own,
///
///     samples_LAP_FIRST.safetensors   tensors samples/K, (items, features): samples K, K + 1, ...; state "batches": which those
///                                     are, and what came of them; "run": of which lap of which run they are
/// A file is there whole, or not at all. What no file holds is drawn anew, by whatever rank.

namespace diem::prior::detail {

[[nodiscard]] inline io::json to_json(const posterior::drawn_range& r) {
    return {{"first", r.first},           {"count", r.count},       {"residual", r.residual},
            {"non_finite", r.non_finite}, {"statuses", r.statuses}, {"seconds", r.seconds}};
}
/// Throws nlohmann::json exceptions, io_error for counts that are none.
[[nodiscard]] inline posterior::drawn_range drawn_range_from(const io::json& j) {
    posterior::drawn_range r;
    r.first = count_in(j, "first");
    r.count = count_in(j, "count");
    r.residual = j.at("residual").get<double>();
    r.non_finite = j.at("non_finite").get<double>();
    r.statuses = status_numbers<decltype(r.statuses)>(j.at("statuses"));
    r.seconds = j.at("seconds").get<double>();
    return r;
}

template <Backend B>
class lap_samples {
    using range_type = posterior::drawn_range;

public:
    lap_samples(std::filesystem::path folder, const parallel::any_communicator& ranks)
        : folder_(std::move(folder)), ranks_(ranks) {}

    /// A lap begins. `run`: what tells it from any lap of another run.
    void begin(index_t lap, io::json run) {
        lap_ = lap;
        run_ = std::move(run);
        run_["lap"] = lap;
        pending_.clear();
    }
    /// This rank drew these; they are to be written.
    void drawn(const range_type& range) { pending_.push_back(range); }

    /// Writes what this rank drew since it wrote last: from x, which holds all samples of the lap as they were drawn. Throws io_error.
    void write(B& b, const_view_t<B> x) {
        if (pending_.empty()) return;
        io::json batches = io::json::array();
        for (const auto& range : pending_) batches.push_back(to_json(range));
        checkpoint_writer<B> out(
            io::json::object(),
            {{"kind", "lap_samples"}, {"features", x.features()}, {"run", run_}, {"batches", std::move(batches)}});
        for (const auto& [first, count] : pieces_of(pending_))
            out.batch_as(b, tensor_name(first), x.item_range(first, count));
        out.write(folder_ / sample_file_name(lap_, pending_.front().first));
        pending_.clear();
    }

    /// Reads what the files hold of this lap into x, and says which samples those are, in their order. Removes files of laps before. Throws
    /// io_error (damage), config_error (a file of another run, or of a lap to come).
    [[nodiscard]] std::vector<range_type> read(B& b, view_t<B> x) const {
        std::map<index_t, range_type> found;
        const std::string hint = "; without this file its samples are drawn anew";
        for (const auto& name : names()) {
            try {
                read_file(b, folder_ / name, x, found);
            } catch (const config_error& e) {
                throw config_error(e.what() + hint);
            } catch (const io_error& e) {
                throw io_error(e.what() + hint);
            }
        }
        std::vector<range_type> ranges;
        for (const auto& [first, range] : found) ranges.push_back(range);
        return ranges;
    }

    /// One file of them; adds to what was found before. Throws io_error, config_error.
    void read_file(B& b, const std::filesystem::path& path, view_t<B> x, std::map<index_t, range_type>& found) const {
        checkpoint_reader<B> in(path);
        if (in.template state<std::string>("kind") != "lap_samples") in.fail("holds no samples of a lap");
        check_same_run(path.string(), in.template state<io::json>("run"), run_);
        std::vector<range_type> ranges;
        try {
            for (const auto& j : in.template state<io::json>("batches")) ranges.push_back(drawn_range_from(j));
        } catch (const io::json::exception& e) {
            in.fail(std::string("state \"batches\": ") + e.what());
        } catch (const io_error& e) {
            in.fail(std::string("state \"batches\": ") + e.what());
        }
        for (const auto& range : ranges) {
            if (range.count < 1 || range.first >= x.items() || range.count > x.items() - range.first)
                in.fail("state \"batches\": samples " + std::to_string(range.first) + " and on, " +
                        std::to_string(range.count) + ", are not among the " + std::to_string(x.items()) +
                        " of the lap");
            const auto [at, is_new] = found.emplace(range.first, range);
            if (!is_new && at->second.count == range.count) continue;  // drawn twice, to the same bits
            const auto next = std::next(at);
            if (!is_new || (at != found.begin() && std::prev(at)->second.end() > range.first) ||
                (next != found.end() && next->first < range.end()))
                in.fail("state \"batches\": samples " + std::to_string(range.first) +
                        " and on are in another file, too");
        }
        for (const auto& [first, count] : pieces_of(ranges))
            in.batch_into(b, tensor_name(first), x.item_range(first, count));
        in.finish();
    }

    /// Removes the files of this lap and of those before.
    void remove() const { remove_before(lap_ + 1); }

private:
    static std::string tensor_name(index_t first) { return "samples/" + std::to_string(first); }
    /// First and count of what follows one another.
    static std::vector<std::pair<index_t, index_t>> pieces_of(const std::vector<range_type>& ranges) {
        std::vector<std::pair<index_t, index_t>> pieces;
        for (const auto& range : ranges) {
            if (!pieces.empty() && pieces.back().first + pieces.back().second == range.first)
                pieces.back().second += range.count;
            else
                pieces.emplace_back(range.first, range.count);
        }
        return pieces;
    }

    /// The files of this lap and of laps to come, as rank 0 sees them.
    [[nodiscard]] std::vector<std::string> names() const {
        io::json own = io::json::array();
        if (ranks_.rank() == 0) {
            remove_before(lap_);
            for (const auto& path : run_files(folder_, false))
                if (lap_of_sample_file(path.filename().string())) own.push_back(path.filename().string());
        }
        return io::json::parse(parallel::broadcast(ranks_, own.dump(), 0, "files of samples"))
            .get<std::vector<std::string>>();
    }
    void remove_before(index_t lap) const {
        for (const auto& path : run_files(folder_, false))
            if (const auto of = lap_of_sample_file(path.filename().string()); of && *of < lap)
                std::filesystem::remove(path);
    }

    std::filesystem::path folder_;
    const parallel::any_communicator& ranks_;
    index_t lap_ = 0;
    io::json run_;
    std::vector<range_type> pending_;
};

}  // namespace diem::prior::detail
