// SPDX-License-Identifier: Apache-2.0
#include "support/html/sections.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>

#include "support/html/text.hpp"
#include "support/html/verdicts.hpp"

namespace support::html {

namespace {

/// A shape and a word, so that no colour is needed.
std::string light(level l) {
    struct look {
        const char *kind, *word, *shape;
    };
    static const std::map<level, look> looks{
        {level::good, {"good", "good", "<path d=\"M6.2 13.4 1.2 8.4l2.1-2.1 2.9 2.9 6.5-6.6 2.1 2.1z\"/>"}},
        {level::note, {"note", "note", "<path d=\"M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm1 11H7V7h2zm0-6.5H7v-2h2z\"/>"}},
        {level::warning, {"warning", "check", "<path d=\"M8 1 0 15h16zm1 12H7v-2h2zm0-3H7V6h2z\"/>"}},
        {level::bad, {"bad", "problem", "<path d=\"M5 1h6l4 4v6l-4 4H5l-4-4V5zm2 3v5h2V4zm0 6.5v2h2v-2z\"/>"}}};
    const look& k = looks.at(l);
    return std::string("<span class=\"light ") + k.kind + "\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">" +
           k.shape + "</svg>" + k.word + "</span>";
}

/// A column of each run, rows by their labels in the order in which they appear.
table columns_of(const runs& all, const std::vector<facts>& each, const std::string& head) {
    table t;
    t.head = {head};
    std::vector<std::string> labels;
    for (std::size_t k = 0; k < all.size(); ++k) {
        t.head.push_back(all.size() == 1 ? "Value" : letter(all, k));
        for (const auto& [label, value] : each[k])
            if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
    }
    for (const auto& label : labels) {
        std::vector<std::string> row{label};
        for (const auto& f : each) {
            const auto found =
                std::find_if(f.begin(), f.end(), [&](const auto& entry) { return entry.first == label; });
            row.push_back(found == f.end() ? "-" : found->second);
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

}  // namespace

std::string letter(const runs& all, std::size_t k) {
    return all.size() < 2 ? std::string{} : std::string(1, static_cast<char>('A' + k));
}

std::string fact_table(const runs& all, facts (*of)(const run_data&), const std::string& head) {
    std::vector<facts> each;
    for (const auto& r : all) each.push_back(of(r));
    const auto t = columns_of(all, each, head);
    return t.rows.empty() ? std::string{} : to_html(t);
}

std::string verdict_section(const runs& all) {
    return "<h2 id=\"verdicts\">Can it be trusted?</h2>\n" + beside(all, [](const run_data& r) {
               const auto verdicts = verdicts_of(r);
               if (verdicts.empty()) return std::string("<p>The report holds nothing to judge yet.</p>");
               std::string out = "<ul class=\"verdicts card\">";
               for (const auto& v : verdicts)
                   out += "<li>" + light(v.light) + "<div><b>" + escape(v.title) + "</b>" +
                          (v.text.empty() ? "" : "<p>" + escape(v.text) + "</p>") + "</div></li>\n";
               return out + "</ul>";
           });
}

std::string observation_section(const runs& all) {
    const auto rows = fact_table(all, observation_facts, "Observations");
    return rows.empty() ? rows : "<h2 id=\"observations\">What was observed</h2>\n" + rows;
}

/// A column of each stage and run, and of two runs their difference.
std::string figure_section(const runs& all) {
    std::vector<std::string> labels, stages;
    std::vector<std::map<std::pair<std::string, std::string>, double>> values;
    for (const auto& r : all) {
        values.emplace_back();
        for (const auto& f : figures(r)) {
            if (std::find(labels.begin(), labels.end(), f.label) == labels.end()) labels.push_back(f.label);
            if (std::find(stages.begin(), stages.end(), f.stage) == stages.end()) stages.push_back(f.stage);
            values.back()[{f.label, f.stage}] = f.value;
        }
    }
    std::string out;
    const auto add = [&](const std::vector<std::string>& some) {
        table t;
        t.head = {"Figure"};
        for (const auto& stage : some) {
            for (std::size_t k = 0; k < all.size(); ++k) {
                std::string name = stage.empty() ? "" : capital(stage) + " prior";
                if (all.size() > 1) name += (name.empty() ? "" : ", ") + letter(all, k);
                t.head.push_back(name.empty() ? "Value" : name);
            }
            if (all.size() > 1) t.head.push_back("B \xE2\x88\x92 A");
        }
        for (const auto& label : labels) {
            std::vector<std::string> row{label};
            bool any = false;
            for (const auto& stage : some) {
                std::vector<double> each;
                for (const auto& v : values) {
                    const auto found = v.find({label, stage});
                    row.push_back(found == v.end() ? "-" : shown(found->second));
                    if (found != v.end()) each.push_back(found->second);
                }
                any = any || !each.empty();
                if (all.size() > 1) row.push_back(each.size() == 2 ? shown(each[1] - each[0]) : "-");
            }
            if (any) t.rows.push_back(std::move(row));
        }
        if (!t.rows.empty()) out += to_html(t);
    };
    std::erase(stages, std::string{});
    if (!stages.empty()) add(stages);
    add({std::string{}});
    return out.empty() ? out : "<h2 id=\"figures\">Figures</h2>\n" + out;
}

std::string time_section(const runs& all) {
    return "<h2 id=\"time\">Time and memory</h2>\n" + fact_table(all, time_facts, "Cost");
}

std::string reproduction_section(const runs& all) {
    std::string out = "<h2 id=\"again\">How to make it again</h2>\n" + beside(all, [](const run_data& r) {
                          const auto command = text_at(r.report, "command");
                          return command.empty() ? std::string("<p>The report does not hold the command line.</p>")
                                                 : "<pre><code>" + escape(command) + "</code></pre>";
                      });
    out += fact_table(all, version_facts, "Version");
    std::vector<facts> each;
    for (const auto& r : all) each.push_back(configuration(r));
    auto t = columns_of(all, each, "Option");
    if (t.rows.empty()) return out;
    t.most_rows = 400;
    if (all.size() == 1)
        return out + "<details><summary>All " + std::to_string(t.rows.size()) + " options</summary>" + to_html(t) +
               "</details>";
    const auto count = t.rows.size();
    std::erase_if(t.rows, [](const auto& row) { return row[1] == row[2]; });
    out += "<h3>" + std::to_string(t.rows.size()) + " of " + std::to_string(count) + " options differ</h3>";
    return t.rows.empty() ? out : out + to_html(t);
}

}  // namespace support::html
