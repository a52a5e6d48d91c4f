// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "support/completion.hpp"

/// The manual of a program with subcommands as roff, from what CLI11 knows of it.
namespace support {

namespace detail {

/// Text that roff takes as text.
inline std::string roff(const std::string& text) {
    std::string out;
    bool begins = true;
    for (const char c : text) {
        if (begins && (c == '.' || c == '\'')) out += "\\&";
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
        begins = c == '\n';
    }
    return out;
}
/// Lines as they are, for text that was laid out by hand.
inline std::string verbatim(const std::string& text) { return text.empty() ? text : ".nf\n" + roff(text) + "\n.fi\n"; }

inline std::string options(const CLI::App& app) {
    std::string out;
    for (const auto* o : app.get_options()) {
        std::string names;
        for (const auto& n : names_of(*o)) names += (names.empty() ? "" : ", ") + n;
        if (names.empty()) names = o->get_name(true);
        const std::string values = values_of(*o), type = !takes_value(*o) ? ""
                                                         : values.empty() ? o->get_type_name()
                                                                          : values;
        out += ".TP\n\\fB" + roff(names) + "\\fR" + (type.empty() ? "" : " \\fI" + roff(type) + "\\fR") + "\n" +
               roff(o->get_description()) +
               (o->get_default_str().empty() ? "" : " (default: " + roff(o->get_default_str()) + ")") + "\n";
    }
    return out;
}

}  // namespace detail

/// `version`: "0.1.0"; `purpose`: a few words.
[[nodiscard]] inline std::string man_page(const CLI::App& app, const std::string& version, const std::string& purpose) {
    const std::string name = app.get_name();
    std::string title = name;
    for (char& c : title)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    std::string out = ".TH " + title + " 1 \"\" \"" + name + " " + version + "\" \"User Commands\"\n.SH NAME\n" + name +
                      " \\- " + detail::roff(purpose) + "\n.SH SYNOPSIS\n.B " + name +
                      "\n.I COMMAND\n[options]\n.SH DESCRIPTION\n" + detail::verbatim(app.get_description()) +
                      ".SH OPTIONS\n" + detail::options(app) + ".SH COMMANDS\n";
    detail::each_command(app, name, [&](const std::string& path, const CLI::App& c) {
        out += ".SS " + path + "\n" + detail::roff(c.get_description()) + "\n" + detail::options(c) +
               (c.get_footer().empty() ? "" : ".PP\n") + detail::verbatim(c.get_footer());
    });
    return out;
}

}  // namespace support
