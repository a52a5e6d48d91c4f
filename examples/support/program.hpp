// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include <CLI/CLI.hpp>

#include <diem/core/error.hpp>
#include <diem/core/version.hpp>

#include "support/instructions.hpp"
#include "support/interrupt.hpp"
#include "support/memory.hpp"
#include "support/terminal.hpp"

const int support_built_for = SUPPORT_INSTRUCTIONS;  // this header is of the one unit that holds `main`

namespace support {

/// What would need less memory; the programs' largest arrays grow with these.
inline constexpr const char* less_memory =
    "a smaller batch, fewer samples or observations at once, or a smaller network need less";

/// "3.1 MiB are left, less than was asked for; ", or "" where not even that can be told.
inline std::string what_is_left() {
    try {
        return gib(memory_here()) + " are left, less than was asked for; ";
    } catch (const std::exception&) {
        return "";
    }
}

/// The whole of a program's `main`: reads the command line, which may also say --version, --quiet and --json, runs `f`, whose value is
/// the exit status, and says in one line
/// "NAME: what went wrong". The exit status is that of `f`, 0 after --help, 1 after an exception or where standard output
/// cannot be written, 2 for a wrong command line, and 128 + its number after a signal that `f` does not catch.
template <class F>
int run_program(CLI::App& app, const std::string& name, int argc, char** argv, const F& f) {
    int status = 0;
    const auto complain = [&](std::string text, int code) {
        while (!text.empty() && text.back() == '\n') text.pop_back();
        std::replace(text.begin(), text.end(), '\n', ' ');  // CLI11's messages may have several lines
        std::cerr << name << ": " << text << '\n';
        status = code;
    };
    keep_standard_streams();
    bool quiet = false, json = false;
    const bool talks = app.get_option_no_throw("--quiet") == nullptr;  // diem has these, and words of its own for them
    if (talks) {
        app.set_version_flag("--version", name + " " + diem::version);
        app.add_flag("--quiet", quiet, "no words and no bars; warnings and errors are said");
        app.add_flag("--json", json, "the report as JSON on standard output, instead of words");
        app.fallthrough();
    }
    try {
        app.parse(argc, argv);
        if (talks) talk(quiet, json);
        exit_on_interrupts();
        status = f();
    } catch (const CLI::Success& done) {  // --help, --version
        status = app.exit(done);
    } catch (const CLI::ParseError& error) {
        complain(std::string(error.what()) + " (" + name + " --help explains)", 2);
    } catch (const diem::memory_error& error) {
        const std::string text = error.what();
        complain(text.find("; ") == std::string::npos ? text + "; " + less_memory : text, 1);
    } catch (const std::bad_alloc&) {
        complain("out of memory: " + what_is_left() + less_memory, 1);
    } catch (const std::exception& error) {
        complain(error.what(), 1);
    }
    try {
        finish_talking();
    } catch (const diem::io_error& error) {
        if (status == 0) complain(error.what(), 1);
    }
    return status;
}

}  // namespace support
