// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/file_kind.hpp>
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
    outputs(std::string option, std::filesystem::path where)
        : option_(std::move(option)), where_(std::move(where)), shown_(where_) {}
    /// One file, FILE or FILE::NAME, in place of a folder, which is then nobody's.
    [[nodiscard]] static outputs file(std::string option, const std::filesystem::path& name) {
        outputs o(std::move(option), name.parent_path());
        for (const auto& each : files_of(name)) o.names_.push_back(each.filename().string());
        o.shown_ = name;
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

    /// Names of which owns(name, whether in the folder checkpoint there) is true: what is there under such a name may be replaced
    /// or removed.
    outputs& writes(std::function<bool(const std::string&, bool)> owns) {
        owns_ = std::move(owns);
        return *this;
    }

    /// What is there under one of the names is replaced only where it is of this kind, or empty.
    outputs& replaces(diem::io::file_kind kind) {
        replaced_ = kind;
        return *this;
    }

    /// Throws value_error, naming both options, where a file that would be written is an input: by whatever path, also through
    /// a link; where a file of another kind than it `replaces` is there. Makes nothing.
    void check() const {
        for (const auto& name : names_) {
            check_is_no_input(where_ / name);
            check_may_go(where_ / name);
        }
        if (!owns_) return;
        for (const auto& folder : {where_, where_ / "checkpoint"}) {
            std::error_code code;  // no folder holds nothing
            for (const auto& entry : std::filesystem::directory_iterator(folder, code))
                if (owns_(entry.path().filename().string(), folder != where_)) check_is_no_input(entry.path());
        }
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
    void check_is_no_input(const std::filesystem::path& written) const {
        std::error_code code;
        for (const auto& in : inputs_)
            if (std::filesystem::equivalent(written, in.path, code))
                throw diem::value_error(option_ + " " + shown_.string() + ": " + written.string() +
                                        " would be written, and is what " + in.option + " reads (" + in.path.string() +
                                        "); choose another place");
    }
    void check_may_go(const std::filesystem::path& written) const {
        using diem::io::file_kind;
        std::error_code code;
        if (!replaced_ || !std::filesystem::is_regular_file(written, code)) return;
        const auto kind = diem::io::kind_of(written);
        if (kind == *replaced_ || kind == file_kind::empty) return;
        const std::string noun(diem::io::describe(*replaced_));  // of a file that was found, with a remedy in brackets
        throw diem::value_error(option_ + " " + shown_.string() + ": is there, and is not " +
                                noun.substr(0, noun.find(" (")) + "; choose another place");
    }
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
    std::filesystem::path where_, shown_;  // the folder, and what the option was given
    std::vector<input> inputs_;
    std::function<bool(const std::string&, bool)> owns_;
    std::optional<diem::io::file_kind> replaced_;
    std::vector<std::string> names_;
    bool holds_ = true;
    std::optional<diem::io::folder_lock> lock_;
};

}  // namespace support
