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
    return app.get_subcommands([](const CLI::App* s) { return !s->get_group().empty(); });
}
/// "maps whiten info"
inline std::string command_names(const CLI::App& app) {
    std::string all;
    for (const auto* c : commands_of(app)) all += (all.empty() ? "" : " ") + c->get_name();
    return all;
}
/// f(path, command) of every command and of those below it, path "mri maps".
template <class F>
void each_command(const CLI::App& app, const std::string& path, const F& f) {
    for (const auto* c : commands_of(app)) {
        const std::string own = (path.empty() ? "" : path + " ") + c->get_name();
        f(own, *c);
        each_command(*c, own, f);
    }
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
    const auto entry = [](const std::string& key, const std::string& words) {
        return "        '" + key + "') words='" + words + "' ;;\n";
    };
    const auto add = [&](const std::string& path, const CLI::App& a) {
        std::string all;
        for (const auto* o : a.get_options())
            for (const auto& n : detail::names_of(*o)) {
                all += (all.empty() ? "" : " ") + n;
                const std::string of = detail::values_of(*o);
                if (!of.empty()) values += entry(path + ":" + n, of);
            }
        options += entry(path, all);
        const std::string below = detail::command_names(a);
        if (!below.empty()) commands += entry(path, below);
    };
    add("", app);
    detail::each_command(app, "", [&](const std::string& path, const CLI::App& c) {
        seen += (seen.empty() ? "'" : " | '") + path + "'";
        add(path, c);
    });
    return "# " + name + " completion bash\n_" + name +
           "() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' path word words=''\n"
           "    COMPREPLY=()\n"
           "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
           "        path=\"${command:+$command }$word\"\n"
           "        case $path in " +
           seen + ") command=$path ;; esac\n    done\n    case $command:$prev in\n" + values +
           "    esac\n"
           "    if [[ -z $words && $cur == -* ]]; then\n        case $command in\n" +
           options + "        esac\n    elif [[ -z $words ]]; then\n        case $command in\n" + commands +
           "        esac\n    fi\n"
           "    if [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); fi\n"
           "}\ncomplete -o default -o filenames -F _" +
           name + " " + name + "\n";
}

namespace detail {

/// What completes the word after a command of `app`, and below it.
inline std::string zsh_commands(const CLI::App& app, const std::string& indent) {
    std::string out = indent + "command=$words[2]\n" + indent + "shift words\n" + indent + "(( CURRENT-- ))\n" +
                      indent + "case $command in\n";
    const std::string in = indent + "        ";
    for (const auto* c : commands_of(app)) {
        const std::string below = command_names(*c);
        out += indent + "    " + c->get_name() + ")\n";
        if (!below.empty()) out += in + "if (( CURRENT > 2 )); then\n" + zsh_commands(*c, in + "    ") + in + "else\n";
        out += in + "_arguments \\\n";
        for (const auto* o : c->get_options())
            for (const auto& n : names_of(*o)) {
                const std::string of = values_of(*o);
                out += in + "    '" + n + "[" + plain(o->get_description()) + "]" +
                       (!takes_value(*o) ? ""
                        : of.empty()     ? ":value:_files"
                                         : ":value:(" + of + ")") +
                       "' \\\n";
            }
        out += in + (below.empty() ? "    '*:file:_files' ;;\n" : "    '1:command:(" + below + ")'\n" + in + "fi ;;\n");
    }
    return out + indent + "esac\n";
}

}  // namespace detail

/// For a file _PROGRAM in a folder of $fpath.
[[nodiscard]] inline std::string zsh_completion(const CLI::App& app) {
    const std::string name = app.get_name();
    std::string commands;
    for (const auto* c : detail::commands_of(app))
        commands += "        '" + c->get_name() + ":" + detail::plain(c->get_description()) + "'\n";
    return "#compdef " + name + "\n_" + name + "() {\n    local -a commands=(\n" + commands +
           "    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command commands\n"
           "        _arguments '--help[explain]' '--version[say which version this is]'\n"
           "        return\n    fi\n"
           "    local command\n" +
           detail::zsh_commands(app, "    ") + "}\n_" + name + " \"$@\"\n";
}

}  // namespace support
