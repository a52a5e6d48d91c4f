// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <diem/io/json.hpp>

/// Pieces of the page of a run (support/html_report.hpp): text and tables. Whatever is not markup of this project goes through
/// `escape`.
namespace support::html {

/// Text as it is shown, in an element or an attribute: & < > " ' as entities; bytes that HTML or UTF-8 do not allow as U+FFFD.
[[nodiscard]] std::string escape(std::string_view text);
[[nodiscard]] std::string base64(std::string_view bytes);

/// Three or four digits, all where the number is whole: "0.25", "13.91", "1536", "4.7e+15"; "not finite" for NaN and infinities.
[[nodiscard]] std::string shown(double value);
/// A JSON value in one line, long ones cut: "adam", "64", "8, 8, 1"; "-" for null.
[[nodiscard]] std::string shown(const diem::io::json& value);
/// "49 %", "0.2 %"; "less than 0.1 %".
[[nodiscard]] std::string percent(double share);
/// "45 s", "12 min", "3.2 h", "2.5 days".
[[nodiscard]] std::string duration(double seconds);

/// The value at a path of keys ("em.sampler.steps"), null where there is none.
[[nodiscard]] const diem::io::json& at(const diem::io::json& object, std::string_view path);
/// The number there; none where it is null or something else.
[[nodiscard]] std::optional<double> number_at(const diem::io::json& object, std::string_view path);
[[nodiscard]] std::string text_at(const diem::io::json& object, std::string_view path);

/// With a capital first letter.
[[nodiscard]] std::string capital(std::string text);
/// What a key of report.json is called on the page: "psnr_mean_db" is "PSNR of the mean of the samples, dB".
[[nodiscard]] std::string label_of(const std::string& key);

/// Cells are text, escaped here. The first cell of a row is its heading.
struct table {
    std::string caption;
    std::vector<std::string> head;
    std::vector<std::vector<std::string>> rows;
    std::size_t most_rows = 200;  ///< beyond these the middle is left out, which a row says
};
[[nodiscard]] std::string to_html(const table& t);

}  // namespace support::html
