// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

/// What a command reads and what it will write: nothing of the user's is replaced by accident, and what cannot be written is
/// found before the work.
namespace program {

class outputs {
public:
    /// `option`: of the command line, for messages ("--out"). `where`: a folder.
    outputs(std::string option, std::filesystem::path where) : option_(std::move(option)), where_(std::move(where)) {}
    /// One file in place of a folder.
    [[nodiscard]] static outputs file(std::string option, const std::filesystem::path& name);

    /// An input, by what gave it ("observations", "--operator"); an empty path is none.
    outputs& reads(std::string option, std::filesystem::path from);
    outputs& reads(const std::string& option, const std::vector<std::filesystem::path>& from);
    /// Names in the folder.
    outputs& writes(std::vector<std::string> names);

    /// Throws value_error, naming both options, where a file that would be written is an input: by whatever path, also through
    /// a link. Makes nothing.
    void check() const;
    /// `check`, then makes the folder and sees whether the files can be written. Throws io_error, naming option and path.
    void prepare() const;

private:
    struct input {
        std::string option;
        std::filesystem::path path;
    };
    std::string option_;
    std::filesystem::path where_;
    std::vector<input> inputs_;
    std::vector<std::string> names_;
};

/// Whether `diem fit` writes files of this name, exactly: into its folder, or into `checkpoint` there.
[[nodiscard]] bool fit_writes(const std::string& name, bool in_checkpoint);

}  // namespace program
