// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "support/html/pictures.hpp"
#include "support/html/sections.hpp"
#include "support/html/style.hpp"
#include "support/html/text.hpp"
#include "support/html_report.hpp"

namespace support {

namespace html {

namespace {

std::string image(const picture& p, const std::string& alt) {
    return "<img src=\"data:image/png;base64," + base64(p.bytes) + "\" width=\"" + std::to_string(p.width) +
           "\" height=\"" + std::to_string(p.height) + "\" alt=\"" + escape(alt) + "\">";
}
std::string tile(const std::string& value, const std::string& label) {
    return "<div class=\"tile\"><b>" + escape(value) + "</b><span>" + escape(label) + "</span></div>";
}

/// The few numbers that matter.
std::string tiles(const run_data& r) {
    std::string out;
    const auto laps = laps_of(r);
    const auto planned = planned_laps(r);
    if (!laps.empty())
        out += tile(std::to_string(laps_done(r)) + (planned ? " / " + shown(*planned) : ""), "laps done");
    if (const auto stages = stages_of(r); !stages.empty())
        if (const auto psnr = number_at(stages.back(), "psnr_mean_db"))
            out += tile(shown(*psnr) + " dB", "PSNR of restored images, mean of the samples");
    const auto residual = laps.empty() ? number_at(r.report, "data_residual") : number_at(laps.back(), "data_residual");
    if (residual)
        out += tile(shown(*residual), "data residual, near " + shown(expected_residual(r)) + " in a good fit");
    const auto seconds = number_at(r.report, "seconds");
    if (seconds) out += tile(duration(*seconds), "taken");
    if (const double each = mean_lap_seconds(laps);
        text_at(r.report, "status") == "running" && planned && std::isfinite(each))
        out += tile(duration(std::max(0.0, *planned - static_cast<double>(laps_done(r))) * each),
                    "left for the laps, about");
    return out.empty() ? out : "<div class=\"tiles\">" + out + "</div>\n";
}

std::string heading(const runs& all) {
    std::string out = "<header>";
    if (all.size() == 1) {
        const auto& r = all[0];
        const auto status = text_at(r.report, "status"), program = text_at(r.report, "program");
        const char* const kind = status == "completed"  ? "good"
                                 : status == "running"  ? "note"
                                 : status == "rejected" ? "bad"
                                                        : "warning";
        out += "<p class=\"kind\">" + escape(program.empty() ? "diem" : program) + "</p><h1>" + escape(r.name) +
               (status.empty() ? "" : "<span class=\"pill " + std::string(kind) + "\">" + escape(status) + "</span>") +
               "</h1><p class=\"lead\">" + escape(summary(r)) + "</p>" + tiles(r);
    } else {
        out += "<p class=\"kind\">Two runs</p><h1>Comparison</h1>";
        for (std::size_t k = 0; k < all.size(); ++k)
            out += "<p class=\"lead\"><strong>" + letter(all, k) + "</strong> " +
                   escape(all[k].name + ": " + summary(all[k])) + "</p>";
    }
    return out;
}

/// Pictures of one kind: along the laps a list, else one below another.
std::string pictures_of_group(const std::vector<picture>& all, const std::string& group) {
    const bool laps = group.find("along the laps") != std::string::npos;
    std::string out = laps ? "<dl class=\"strip card\">" : "";
    for (const auto& p : all) {
        if (p.group != group) continue;
        if (laps)
            out += "<dt>" + escape(p.title) + "</dt><dd>" + image(p, group + ": " + p.title) + "</dd>\n";
        else
            out += std::string("<figure class=\"picture card") +
                   (p.width < 300 && 2 * p.width < 3 * p.height ? " small-picture" : "") + "\"><figcaption>" +
                   escape(p.title) + "</figcaption>" + image(p, group + ": " + p.title) +
                   (p.caption.empty() ? "" : "<p>" + escape(p.caption) + "</p>") + "</figure>\n";
    }
    return out + (laps ? "</dl>" : "");
}

}  // namespace

std::string picture_section(const runs& all) {
    std::vector<album> albums;
    std::vector<std::string> groups;
    for (const auto& r : all) {
        albums.push_back(pictures_of(r));
        for (const auto& p : albums.back().pictures)
            if (std::find(groups.begin(), groups.end(), p.group) == groups.end()) groups.push_back(p.group);
    }
    std::string out;
    for (const auto& group : groups) {
        out += "<h3>" + escape(group) + "</h3>";
        if (all.size() > 1) out += "<div class=\"columns\">";
        for (std::size_t k = 0; k < all.size(); ++k)
            out += (all.size() > 1 ? "<div><p class=\"small\">" + letter(all, k) + "</p>" : "") +
                   pictures_of_group(albums[k].pictures, group) + (all.size() > 1 ? "</div>" : "");
        if (all.size() > 1) out += "</div>";
    }
    for (std::size_t k = 0; k < all.size(); ++k)
        for (const auto& what : albums[k].left_out)
            out += "<p class=\"small\">Left out" + (all.size() > 1 ? ", " + letter(all, k) : "") + ": " + escape(what) +
                   ".</p>";
    return out.empty() ? out : "<h2 id=\"pictures\">Pictures</h2>\n" + out;
}

}  // namespace html

std::string html_report(const std::vector<reported_run>& reported) {
    using namespace html;
    runs all;
    bool running = false;
    for (const auto& r : reported) {
        all.push_back({r.folder, r.name, r.report.is_object() ? r.report : diem::io::json::object()});
        running = reported.size() == 1 && text_at(all.back().report, "status") == "running";
    }
    const std::pair<const char*, std::string> sections[] = {{"Can it be trusted?", verdict_section(all)},
                                                            {"Observations", observation_section(all)},
                                                            {"Results", result_section(all)},
                                                            {"Pictures", picture_section(all)},
                                                            {"Along the laps", curve_section(all)},
                                                            {"Held-out values", held_out_section(all)},
                                                            {"Figures", figure_section(all)},
                                                            {"Time and memory", time_section(all)},
                                                            {"How to make it again", reproduction_section(all)}};
    std::string title = all.size() == 1 ? all[0].name : "Comparison";
    if (all.size() == 2) title += " of " + all[0].name + " and " + all[1].name;
    std::string nav = "<nav aria-label=\"Sections\">", body;
    for (const auto& [name, content] : sections) {
        if (content.empty()) continue;
        const auto first = content.find("id=\"") + 4;  // of its heading
        nav += "<a href=\"#" + content.substr(first, content.find('"', first) - first) + "\">" + name + "</a> ";
        body += content;
    }
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
           "'unsafe-inline'\">\n" +
           std::string(running ? "<meta http-equiv=\"refresh\" content=\"10\">\n" : "") +
           "<link rel=\"icon\" href=\"data:,\">\n<title>" + escape(title) + " - diem</title>\n<style>" + style +
           "</style>\n</head>\n<body>\n" + heading(all) + nav + "</nav></header>\n<main>\n" + body +
           "</main>\n<footer><p>Written by diem " + escape(text_at(all.front().report, "environment.diem")) +
           (all.size() == 1
                ? " from the report and the pictures beside this page; <code>diem report</code> makes it again."
                : ".") +
           "</p></footer>\n</body>\n</html>\n";
}

}  // namespace support
