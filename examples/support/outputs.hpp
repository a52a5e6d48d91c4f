// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/folder_lock.hpp>

namespace support {

/// With the folders above it. Throws io_error.
inline void make_folder(const std::filesystem::path& folder) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    if (code) throw diem::io_error(folder.string() + ": cannot create the folder: " + code.message());
}

/// What a program reads and what it will write: nothing of the user's is replaced by accident, what cannot be written is found
/// before the work, and no two processes mix their files in one folder.
///
///     outputs files("--out", o.out);
///     files.reads("--data", o.data).writes({"report.json"});
///     files.prepare();
class outputs {
public:
    /// `option`: of the command line, for messages. `where`: a folder.
    outputs(std::string option, std::filesystem::path where) : option_(std::move(option)), where_(std::move(where)) {}
    /// One file, FILE or FILE::NAME, in place of a folder, which is then nobody's.
    [[nodiscard]] static outputs file(std::string option, const std::filesystem::path& name) {
        outputs o(std::move(option), name.parent_path());
        for (const auto& each : files_of(name)) o.names_.push_back(each.filename().string());
        o.holds_ = false;
        return o;
    }

    /// An input, by what gave it ("the observations", "--operator"); an empty path is none.
    outputs& reads(const std::string& option, const std::filesystem::path& from) {
        if (!from.empty())
            for (const auto& each : files_of(from)) inputs_.push_back({option, each});
        return *this;
    }
    template <class Path>
    outputs& reads(const std::string& option, const std::vector<Path>& from) {
        for (const auto& path : from) reads(option, std::filesystem::path(path));
        return *this;
    }
    /// Names in the folder.
    outputs& writes(const std::vector<std::string>& names) {
        names_.insert(names_.end(), names.begin(), names.end());
        return *this;
    }

    /// Throws value_error, naming both options, where a file that would be written is an input: by whatever path, also through
    /// a link. Makes nothing.
    void check() const {
        std::error_code code;
        for (const auto& name : names_)
            for (const auto& in : inputs_)
                if (std::filesystem::equivalent(where_ / name, in.path, code))
                    throw diem::value_error(option_ + " " + where_.string() + ": " + (where_ / name).string() +
                                            " would be written, and is what " + in.option + " reads (" +
                                            in.path.string() + "); choose another place");
    }
    /// Holds a folder that is there, for as long as this lives. Throws io_error where another process does.
    void hold() {
        if (holds_ && !lock_ && std::filesystem::is_directory(where_)) lock_.emplace(where_);
    }
    /// `check`; then makes the folder, holds it, removes what killed writers have left in it, and sees whether the files can be
    /// written. Throws io_error, naming option and path.
    void prepare() {
        check();
        try {
            if (!where_.empty()) make_folder(where_);
            hold();
            if (holds_) diem::io::remove_leftovers(where_);
            for (const auto& name : names_) {
                if (!holds_) diem::io::remove_leftovers(where_.empty() ? "." : where_, name);
                diem::io::probe_writable(where_ / name);
            }
        } catch (const diem::io_error& e) {
            throw diem::io_error(option_ + ": " + e.what());
        }
    }

private:
    /// FILE of FILE::NAME; both files of BART's.
    [[nodiscard]] static std::vector<std::filesystem::path> files_of(const std::filesystem::path& given) {
        const auto file = diem::io::place_of(given).path;
        if (file.extension() != ".cfl" && file.extension() != ".hdr") return {file};
        return {diem::io::cfl_path(file, ".cfl"), diem::io::cfl_path(file, ".hdr")};
    }
    struct input {
        std::string option;
        std::filesystem::path path;
    };
    std::string option_;
    std::filesystem::path where_;
    std::vector<input> inputs_;
    std::vector<std::string> names_;
    bool holds_ = true;
    std::optional<diem::io::folder_lock> lock_;
};

}  // namespace support
