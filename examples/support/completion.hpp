// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

/// Shell completion of a program with subcommands, from what CLI11 knows of it.
namespace support {

namespace detail {

/// "--out" and "-h"; "--help" first.
inline std::vector<std::string> names_of(const CLI::Option& o) {
    std::vector<std::string> names;
    for (const auto& n : o.get_lnames()) names.push_back("--" + n);
    for (const auto& n : o.get_snames()) names.push_back("-" + n);
    return names;
}
/// What an option can be: "auto eigen cuda" of "{auto,eigen,cuda}" in its type; empty where it can be anything.
inline std::string values_of(const CLI::Option& o) {
    const std::string type = o.get_type_name();
    const auto first = type.find('{'), last = type.rfind('}');
    if (first == std::string::npos || last == std::string::npos || last < first) return {};
    std::string values = type.substr(first + 1, last - first - 1);
    for (char& c : values)
        if (c == ',') c = ' ';
    return values;
}
inline bool takes_value(const CLI::Option& o) { return o.get_expected_max() > 0; }
inline std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    std::vector<const CLI::App*> shown;
    for (const auto* c : app.get_subcommands([](const CLI::App* s) { return !s->get_group().empty(); }))
        shown.push_back(c);
    return shown;
}
/// One line that single quotes of a shell may hold; no brackets, no colon, which mean something to zsh.
inline std::string plain(std::string text) {
    for (char& c : text)
        if (c == '\'' || c == '[' || c == ']' || c == ':' || c == '\n' || c == '\\') c = c == ':' ? ';' : ' ';
    return text;
}

}  // namespace detail

/// For `source <(PROGRAM completion bash)`.
[[nodiscard]] inline std::string bash_completion(const CLI::App& app) {
    const std::string name = app.get_name();
    std::string commands, options, values, seen;
    const auto words = [&](const CLI::App& a) {
        std::string all;
        for (const auto* o : a.get_options())
            for (const auto& n : detail::names_of(*o)) {
                all += (all.empty() ? "" : " ") + n;
                const std::string of = detail::values_of(*o);
                const std::string key = a.get_name() + ":" + n;
                if (!of.empty()) values += "        " + key + ") words='" + of + "' ;;\n";
            }
        return all;
    };
    options = "        '') words='" + words(app) + "' ;;\n";
    for (const auto* c : detail::commands_of(app)) {
        commands += (commands.empty() ? "" : " ") + c->get_name();
        seen += (seen.empty() ? "" : " | ") + c->get_name();
        options += "        " + c->get_name() + ") words='" + words(*c) + "' ;;\n";
    }
    return "# " + name + " completion bash\n_" + name +
           "() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word words=''\n"
           "    COMPREPLY=()\n"
           "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
           "        case $word in " +
           seen + ") command=$word; break ;; esac\n    done\n    case $command:$prev in\n" + values +
           "    esac\n"
           "    if [[ -z $words && $cur == -* ]]; then\n        case $command in\n    " +
           options + "        esac\n    elif [[ -z $words && -z $command ]]; then\n        words='" + commands +
           "'\n    fi\n"
           "    if [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); fi\n"
           "}\ncomplete -o default -o filenames -F _" +
           name + " " + name + "\n";
}

/// For a file _PROGRAM in a folder of $fpath.
[[nodiscard]] inline std::string zsh_completion(const CLI::App& app) {
    const std::string name = app.get_name();
    std::string commands, cases;
    for (const auto* c : detail::commands_of(app)) {
        commands += "        '" + c->get_name() + ":" + detail::plain(c->get_description()) + "'\n";
        cases += "        " + c->get_name() + ")\n            _arguments \\\n";
        for (const auto* o : c->get_options())
            for (const auto& n : detail::names_of(*o)) {
                const std::string of = detail::values_of(*o);
                cases += "                '" + n + "[" + detail::plain(o->get_description()) + "]" +
                         (!detail::takes_value(*o) ? ""
                          : of.empty()             ? ":value:_files"
                                                   : ":value:(" + of + ")") +
                         "' \\\n";
            }
        cases += "                '*:file:_files' ;;\n";
    }
    return "#compdef " + name + "\n_" + name + "() {\n    local -a commands=(\n" + commands +
           "    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command commands\n"
           "        _arguments '--help[explain]' '--version[say which version this is]'\n"
           "        return\n    fi\n"
           "    local command=$words[2]\n"
           "    shift words\n    (( CURRENT-- ))\n"
           "    case $command in\n" +
           cases + "    esac\n}\n_" + name + " \"$@\"\n";
}

}  // namespace support
