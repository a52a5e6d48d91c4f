// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/io/json.hpp>
#include <diem/prior/diagnostics.hpp>

/// \file
/// Internal: diagnostics of laps as JSON, and its numbers.

namespace diem::prior {

[[nodiscard]] inline io::json to_json(const lap_diagnostics& d) {
    const auto number = [](double v) { return std::isfinite(v) ? io::json(v) : io::json(nullptr); };
    return {{"lap", d.lap},
            {"samples", d.samples},
            {"removed", d.removed},
            {"data_residual", number(d.data_residual)},
            {"outside_share", d.outside_share},
            {"non_finite_share", d.non_finite_share},
            {"solver_shares", d.solver_shares},
            {"change", number(d.change)},
            {"variance", number(d.variance)},
            {"loss", number(d.loss)},
            {"e_seconds", d.e_seconds},
            {"m_seconds", d.m_seconds}};
}

namespace detail {

/// Numbers by solver status; files of versions with fewer statuses have fewer.
template <class Array>
[[nodiscard]] Array status_numbers(const io::json& j) {
    Array a{};
    const auto values = j.get<std::vector<double>>();
    for (std::size_t k = 0; k < std::min(values.size(), a.size()); ++k) a[k] = values[k];
    return a;
}

/// An entry that is an integer of at least 0. Throws nlohmann::json exceptions, io_error.
[[nodiscard]] inline index_t count_in(const io::json& j, const char* key) {
    const auto& v = j.at(key);
    if (!v.is_number_unsigned() || !std::in_range<index_t>(v.get<std::uint64_t>()))
        throw io_error(std::string("\"") + key + "\" is " + v.dump() + ", expected an integer of at least 0");
    return static_cast<index_t>(v.get<std::uint64_t>());
}

/// Throws nlohmann::json exceptions where the text is not of this form, io_error for counts that are none.
[[nodiscard]] inline lap_diagnostics diagnostics_from(const io::json& j) {
    const auto number = [&](const char* key) {
        const auto& v = j.at(key);
        return v.is_null() ? std::numeric_limits<double>::quiet_NaN() : v.get<double>();
    };
    const auto count = [&](const char* key) { return count_in(j, key); };
    lap_diagnostics d;
    d.lap = count("lap");
    d.samples = count("samples");
    d.removed = j.contains("removed") ? count("removed") : 0;
    d.data_residual = number("data_residual");
    d.outside_share = number("outside_share");
    d.non_finite_share = number("non_finite_share");
    d.solver_shares = status_numbers<decltype(d.solver_shares)>(j.at("solver_shares"));
    d.change = number("change");
    if (j.contains("variance")) d.variance = number("variance");  // files of before have none
    d.loss = number("loss");
    d.e_seconds = number("e_seconds");
    d.m_seconds = number("m_seconds");
    return d;
}

}  // namespace detail

}  // namespace diem::prior
