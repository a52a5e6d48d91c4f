// SPDX-License-Identifier: Apache-2.0
#include "support/html/text.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>

#include "support/report.hpp"

namespace support::html {

using diem::io::json;

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Bytes of the UTF-8 sequence that begins here, 0 where none does (Unicode 15, table 3-7).
std::size_t sequence_at(std::string_view text, std::size_t k) {
    const auto byte = [&](std::size_t i) { return k + i < text.size() ? static_cast<unsigned char>(text[k + i]) : 0U; };
    const auto between = [&](std::size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return between(1, 0x80, 0xBF) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool second = between(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
        return second && between(2, 0x80, 0xBF) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool second = between(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
        return second && between(2, 0x80, 0xBF) && between(3, 0x80, 0xBF) ? 4 : 0;
    }
    return 0;
}

const std::map<std::string, std::string>& labels() {
    static const std::map<std::string, std::string> names{
        {"change", "Change of the samples' moments"},
        {"data_residual", "Data residual"},
        {"distance_to_observed_point", "Distance to the point observed"},
        {"divergence", "Divergence from the truth"},
        {"divergence_first", "Divergence of the first lap's samples"},
        {"divergence_gaussian_prior", "Divergence of the Gaussian prior"},
        {"divergence_last", "Divergence of the last lap's samples"},
        {"divergence_network_prior", "Divergence of the network's prior"},
        {"e_seconds", "Sampling, s"},
        {"em", "EM"},
        {"frechet_averaged", "Squared Frechet distance, averaged images"},
        {"frechet_features", "Frechet distance of features"},
        {"frechet_pixels", "Squared Frechet distance of pixels"},
        {"gaussian_seconds", "Gaussian stage, s"},
        {"log_evidence_held_out", "log p(y) of a held-out observation, Gaussian prior"},
        {"loss", "Training loss"},
        {"m_seconds", "Training, s"},
        {"non_finite_share", "Samples that were not finite"},
        {"outside_share", "Samples out of range"},
        {"psnr_exact_gaussian_mean_db", "PSNR of the Gaussian's exact posterior mean, dB"},
        {"psnr_mean_db", "PSNR of the mean of the samples, dB"},
        {"psnr_mean_fill_db", "PSNR of deleted pixels at their mean, dB"},
        {"psnr_sample_db", "PSNR of one sample, dB"},
        {"psnr_zero_fill_db", "PSNR of deleted pixels at zero, dB"},
        {"removed", "Samples removed"},
        {"sigma_y", "Noise sigma_y"},
        {"transport_between_truths", "Transport cost between two draws of the truth"},
        {"variance", "Variance of the samples"}};
    return names;
}

}  // namespace

std::string escape(std::string_view text) {
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    for (std::size_t k = 0; k < text.size();) {
        const std::size_t length = sequence_at(text, k);
        const char c = text[k];
        const bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
        if (length == 0 || control)
            out += replacement;
        else if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (c == '\'')
            out += "&#39;";
        else
            out += text.substr(k, length);
        k += length == 0 ? 1 : length;
    }
    return out;
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t k = 0; k < bytes.size(); k += 3) {
        const auto byte = [&](std::size_t i) {
            return k + i < bytes.size() ? std::uint32_t{static_cast<unsigned char>(bytes[k + i])} : 0U;
        };
        const std::uint32_t three = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (unsigned i = 0; i < 4; ++i) out += k + i <= bytes.size() ? digits[three >> (18 - 6 * i) & 63] : '=';
    }
    return out;
}

std::string shown(double value) {
    if (!std::isfinite(value)) return "not finite";
    if (value == std::round(value) && std::abs(value) < 1e9) return number(value, 0);
    const double size = std::abs(value);
    if (size >= 1000 && size < 1e6) return number(value, 1);
    if (size < 10 || size >= 1e6) return brief(value);
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

std::string shown(const json& value) {
    if (value.is_null() || (value.is_array() && value.empty())) return "-";
    if (value.is_number_integer()) return value.dump();
    if (value.is_number()) return shown(value.get<double>());
    if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
    std::string text;
    if (value.is_string()) {
        text = value.get<std::string>();
    } else if (value.is_array() && value.size() <= 16) {
        for (const auto& v : value) text += (text.empty() ? "" : ", ") + shown(v);
    } else {
        text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    }
    constexpr std::size_t most = 300;
    return text.size() > most ? text.substr(0, most) + " ..." : text;
}

std::string percent(double share) {
    constexpr const char* sign = "\xC2\xA0%";  // stays on the line of its number
    const double p = 100 * share;
    if (!std::isfinite(p)) return "an unknown share";
    if (p > 0 && p < 0.1) return std::string("less than 0.1") + sign;
    if (p < 100 && p > 99.9) return std::string("more than 99.9") + sign;
    return number(p, p < 10 && p != std::round(p) ? 1 : 0) + sign;
}

std::string duration(double s) {
    if (!std::isfinite(s)) return "unknown";
    return s < 1        ? brief(s) + " s"
           : s < 10     ? number(s, 1) + " s"
           : s < 120    ? number(s, 0) + " s"
           : s < 7200   ? number(s / 60, 0) + " min"
           : s < 172800 ? number(s / 3600, 1) + " h"
                        : number(s / 86400, 1) + " days";
}

const json& at(const json& object, std::string_view path) {
    static const json none;
    const json* here = &object;
    while (!path.empty()) {
        const auto dot = path.find('.');
        const std::string key(path.substr(0, dot));
        if (!here->is_object() || !here->contains(key)) return none;
        here = &(*here)[key];
        path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
    }
    return *here;
}
std::optional<double> number_at(const json& object, std::string_view path) {
    const auto& value = at(object, path);
    return value.is_number() ? std::optional<double>(value.get<double>()) : std::nullopt;
}
std::string text_at(const json& object, std::string_view path) {
    const auto& value = at(object, path);
    return value.is_string() ? value.get<std::string>() : std::string{};
}

std::string capital(std::string text) {
    if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text;
}
std::string label_of(const std::string& key) {
    if (const auto found = labels().find(key); found != labels().end()) return found->second;
    std::string text = key;
    for (char& c : text)
        if (c == '_') c = ' ';
    return capital(std::move(text));
}

std::string to_html(const table& t) {
    std::string out = "<div class=\"scroll\"><table>";
    if (!t.caption.empty()) out += "<caption>" + escape(t.caption) + "</caption>";
    out += "<thead><tr>";
    for (const auto& cell : t.head) out += "<th scope=\"col\">" + escape(cell) + "</th>";
    out += "</tr></thead><tbody>\n";
    const std::size_t half = t.most_rows / 2, count = t.rows.size();
    for (std::size_t k = 0; k < count; ++k) {
        if (count > t.most_rows && k == half) {
            const std::size_t skipped = count - 2 * half;
            out += "<tr><td colspan=\"" + std::to_string(t.head.size()) + "\">" + std::to_string(skipped) +
                   " rows are left out here</td></tr>\n";
            k += skipped;
        }
        out += "<tr>";
        for (std::size_t i = 0; i < t.rows[k].size(); ++i)
            out += (i == 0 ? "<th scope=\"row\">" : "<td>") + escape(t.rows[k][i]) + (i == 0 ? "</th>" : "</td>");
        out += "</tr>\n";
    }
    return out + "</tbody></table></div>\n";
}

}  // namespace support::html
