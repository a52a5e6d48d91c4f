// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/prior/descriptions.hpp>

/// \file
/// What follows from the descriptions of options: reading them from JSON, writing them, a table.
/// \snippet tests/examples/prior.cpp prior/settings.hpp

namespace diem::prior {

/// Reads entries from an object of a configuration; what is left out keeps its value. `items`: observations, whose samples
/// "epochs" pass over. Throws config_error naming file and key.
class settings_reader {
public:
    explicit settings_reader(io::config_object& object, index_t items = 0) : object_(object), items_(items) {}

    template <class T>
    void number(const char* key, T& target, const range& r, const char* /*help*/) {
        if constexpr (std::is_same_v<T, double>) {
            io::json raw;
            object_.optional(key, raw);
            if (raw == "inf" && std::isinf(r.most)) {
                target = std::numeric_limits<double>::infinity();
                return;
            }
        }
        if constexpr (std::is_same_v<T, std::optional<double>>) {
            double value = target.value_or(0);
            const auto check = object_.optional(key, value);
            if (!object_.contains(key)) return;
            check.satisfies(r.contains(value), r.words());
            target = value;
        } else {
            const auto check = object_.optional(key, target);
            if (object_.contains(key)) check.satisfies(r.contains(static_cast<double>(target)), r.words());
        }
    }
    void flag(const char* key, bool& target, const char* /*help*/) { object_.optional(key, target); }
    template <class E>
    void choice(const char* key, E& target, const names_of<E>& all, const char* /*help*/) {
        std::vector<std::string> names;
        std::string name;
        for (const auto& [n, value] : all) {
            names.push_back(n);
            if (value == target) name = n;
        }
        object_.optional(key, name).one_of(names);
        for (const auto& [n, value] : all)
            if (n == name) target = value;
    }
    /// E's values are the numbers of the names.
    template <class E, std::size_t N>
    void named(const char* key, E& target, const std::array<std::string_view, N>& names, const char* help) {
        names_of<E> all;
        for (std::size_t k = 0; k < N; ++k) all.emplace_back(names[k], static_cast<E>(k));
        choice(key, target, all, help);
    }
    /// A lap has so many samples of each observation, of so many observations at most (see `part_of_lap`).
    void lap_of(index_t observations, index_t samples) {
        items_ = part_of_lap(items_, observations, 0).count * samples;
    }
    void steps(const char* steps, const char* epochs, index_t& target, index_t batch, const char* help) {
        index_t passes = 0;
        number(steps, target, count(0), help);
        number(epochs, passes, count(0), help);
        if (passes == 0) return;
        const index_t each = train::steps_of_epochs(1, items_, batch);
        if (!count(0).contains(static_cast<double>(passes) * static_cast<double>(each)))
            object_.fail(epochs, "is " + std::to_string(passes) + ", of " + std::to_string(each) +
                                     " steps each: more than 1000000000 steps");
        target = passes * each;
    }
    template <class F>
    void object(const char* key, const F& f) {
        object_.object(key, [&](io::config_object& inner) {
            settings_reader reader(inner, items_);
            f(reader);
        });
    }
    template <class T, class F>
    void optional(const char* key, std::optional<T>& target, const F& f) {
        object(key, [&](settings_reader& r) {
            if (!target) target.emplace();
            f(r, *target);
        });
    }

private:
    io::config_object& object_;
    index_t items_;
};

/// Writes what `settings_reader` reads. Infinity is "inf".
class settings_writer {
public:
    explicit settings_writer(io::json& to) : to_(to) {}
    template <class T>
    void number(const char* key, const T& value, const range& /*r*/, const char* /*help*/) {
        if constexpr (std::is_same_v<T, std::optional<double>>) {
            if (value) to_[key] = *value;
        } else if (std::isinf(static_cast<double>(value))) {
            to_[key] = "inf";
        } else {
            to_[key] = value;
        }
    }
    void flag(const char* key, bool value, const char* /*help*/) { to_[key] = value; }
    template <class E>
    void choice(const char* key, E value, const names_of<E>& all, const char* /*help*/) {
        for (const auto& [n, v] : all)
            if (v == value) to_[key] = n;
    }
    template <class E, std::size_t N>
    void named(const char* key, E value, const std::array<std::string_view, N>& names, const char* /*help*/) {
        to_[key] = std::string(names[static_cast<std::size_t>(value)]);
    }
    void lap_of(index_t /*observations*/, index_t /*samples*/) {}
    void steps(const char* steps, const char* /*epochs*/, index_t value, index_t /*batch*/, const char* /*help*/) {
        to_[steps] = value;
    }
    template <class F>
    void object(const char* key, const F& f) {
        settings_writer inner(to_[key] = io::json::object());
        f(inner);
    }
    template <class T, class F>
    void optional(const char* key, std::optional<T>& value, const F& f) {
        if (value) object(key, [&](settings_writer& w) { f(w, *value); });
    }

private:
    io::json& to_;
};

/// One entry of a table of options: key with its path, values it may take, default, what it is for.
struct setting {
    std::string key, values, standard, help;
};

/// Lists entries, in the order in which they are described.
class settings_table {
public:
    settings_table(std::vector<setting>& rows, std::string prefix) : rows_(rows), prefix_(std::move(prefix)) {}
    template <class T>
    void number(const char* key, const T& value, const range& r, const char* help) {
        io::json j = io::json::object();
        settings_writer(j).number(key, value, r, help);
        add(key, r.words(), j.empty() ? "" : j.at(key).dump(), help);
    }
    void flag(const char* key, bool value, const char* help) {
        add(key, "true, false", value ? "true" : "false", help);
    }
    template <class E>
    void choice(const char* key, E value, const names_of<E>& all, const char* help) {
        std::string names, own;
        for (const auto& [n, v] : all) {
            names += (names.empty() ? "" : ", ") + n;
            if (v == value) own = n;
        }
        add(key, names, own, help);
    }
    template <class E, std::size_t N>
    void named(const char* key, E value, const std::array<std::string_view, N>& names, const char* help) {
        names_of<E> all;
        for (std::size_t k = 0; k < N; ++k) all.emplace_back(names[k], static_cast<E>(k));
        choice(key, value, all, help);
    }
    void lap_of(index_t /*observations*/, index_t /*samples*/) {}
    void steps(const char* steps, const char* epochs, index_t value, index_t /*batch*/, const char* help) {
        add(std::string(steps) + " or " + epochs, "at least 0", std::to_string(value), help);
    }
    template <class F>
    void object(const char* key, const F& f) {
        settings_table inner(rows_, prefix_ + key + ".");
        f(inner);
    }
    template <class T, class F>
    void optional(const char* key, const std::optional<T>& /*value*/, const F& /*f*/) {
        add(key, "an object", "", "the same as before, for laps whose prior is still Gaussian");
    }

private:
    void add(const std::string& key, std::string values, std::string standard, std::string help) {
        rows_.push_back({prefix_ + key, std::move(values), std::move(standard), std::move(help)});
    }
    std::vector<setting>& rows_;
    std::string prefix_;
};

/// Any described options, read from an object that is being read.
template <class Options>
void read_settings(io::config_object& object, Options& options, index_t items = 0) {
    settings_reader reader(object, items);
    describe(reader, options);
}
/// The same as JSON.
template <class Options>
[[nodiscard]] io::json settings_json(Options options) {
    io::json j = io::json::object();
    settings_writer writer(j);
    describe(writer, options);
    return j;
}

/// The same as a table, its keys behind `prefix`.
template <class Options>
[[nodiscard]] std::vector<setting> settings_of(Options options, const std::string& prefix = "") {
    std::vector<setting> rows;
    settings_table table(rows, prefix);
    describe(table, options);
    return rows;
}

}  // namespace diem::prior
