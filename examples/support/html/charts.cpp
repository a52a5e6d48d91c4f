// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/html/points.hpp"
#include "support/html/sections.hpp"
#include "support/html/svg_plot.hpp"
#include "support/html/text.hpp"

namespace support::html {

using diem::io::json;

namespace {

const std::set<std::string_view> drawn_elsewhere{"lap", "samples", "e_seconds", "m_seconds"};
constexpr std::size_t most_charts = 24;

std::string card(const plot& p, const std::string& svg, const std::string& last, const std::string& note) {
    return "<figure class=\"card\"><figcaption><span>" + escape(p.title) + "</span><output>" + escape(last) +
           "</output></figcaption>" + svg + legend(p) + (note.empty() ? "" : "<p>" + escape(note) + "</p>") +
           "</figure>\n";
}
/// The last numbers of a few curves.
std::string last_of(const plot& p) {
    constexpr std::size_t few = 3;
    std::string text;
    if (p.curves.size() > few) return text;
    for (const auto& c : p.curves) {
        double last = NAN;
        for (const double v : c.y)
            if (std::isfinite(v)) last = v;
        if (std::isfinite(last)) text += (text.empty() ? "" : " \xC2\xB7 ") + shown(last);
    }
    return text;
}
std::string chart(const plot& p, const std::string& note) {
    return has_points(p) ? card(p, line_plot(p), last_of(p), note) : std::string{};
}

/// A curve of each run.
template <class Curve>
plot over(const runs& all, const std::string& title, Curve of) {
    plot p;
    p.title = title;
    for (std::size_t k = 0; k < all.size(); ++k) {
        auto c = of(all[k]);
        c.name = letter(all, k);
        c.colour = static_cast<int>(k) + 1;
        p.curves.push_back(std::move(c));
    }
    return p;
}

struct known_chart {
    const char *key, *title, *note;
};
constexpr known_chart first_charts[] = {
    {"data_residual", "Data residual", "Mean squared distance of A x to y in units of the noise."},
    {"loss", "Training loss", "Of the denoiser, at the end of each lap."},
    {"change", "Change of the samples' moments",
     "Of mean and standard deviation since the lap before, in spreads: near 0 once the prior has settled."},
    {"variance", "Variance of the samples",
     "Of the posterior samples that were learned from, mean over the values of x: it falls where variance gets lost."},
};
constexpr known_chart fault_charts[] = {
    {"outside_share", "Samples out of range", "Share with a value beyond the range of the data."},
    {"non_finite_share", "Samples that were not finite", "Share; replaced by others before training."},
    {"removed", "Samples removed", "Out of range, left out of training."},
};

std::string status_chart(const run_data& r, const std::string& of) {
    static const char* const names[] = {"converged", "used all iterations", "broke down", "not finite", "stagnated"};
    static const int colours[] = {3, 1, 2, 4, 5};
    plot p;
    p.title = "How the linear solves ended" + (of.empty() ? "" : ", " + of);
    const auto laps = laps_of(r);
    for (std::size_t s = 0; s < 5; ++s) {
        curve c;
        c.name = names[s], c.colour = colours[s];
        for (std::size_t k = 0; k < laps.size(); ++k) {
            const auto& shares = at(laps[k], "solver_shares");
            const bool there = shares.is_array() && s < shares.size() && shares[s].is_number();
            c.x.push_back(number_at(laps[k], "lap").value_or(static_cast<double>(k)));
            c.y.push_back(there ? shares[s].get<double>() : 0.0);
        }
        if (std::any_of(c.y.begin(), c.y.end(), [](double v) { return v >= 1e-3; })) p.curves.push_back(std::move(c));
    }
    if (p.curves.empty()) return {};
    return card(p, share_plot(p), "",
                "Shares of all solves of a lap. Where few iterations are asked for, using them all is meant.");
}

/// Keys of numbers in any lap, in the order of the alphabet.
std::set<std::string> keys_of(const runs& all) {
    std::set<std::string> keys;
    for (const auto& r : all)
        for (const auto& lap : laps_of(r))
            for (const auto& [key, value] : lap.items())
                if (value.is_number() && !drawn_elsewhere.contains(key)) keys.insert(key);
    return keys;
}

std::string lap_table(const run_data& r) {
    const auto laps = laps_of(r);
    std::set<std::string> keys;
    for (const auto& lap : laps)
        for (const auto& [key, value] : lap.items())
            if (value.is_number() && key != "lap") keys.insert(key);
    table t;
    t.head = {"Lap"};
    for (const auto& key : keys) t.head.push_back(label_of(key));
    for (std::size_t k = 0; k < laps.size(); ++k) {
        std::vector<std::string> row{shown(number_at(laps[k], "lap").value_or(static_cast<double>(k)))};
        for (const auto& key : keys) row.push_back(shown(at(laps[k], key)));
        t.rows.push_back(std::move(row));
    }
    return laps.empty() ? std::string{} : to_html(t);
}

/// Numbers of an array; NaN for what is none.
std::vector<double> numbers_of(const json& array) {
    std::vector<double> some;
    if (array.is_array())
        for (const auto& v : array) some.push_back(v.is_number() ? v.get<double>() : NAN);
    return some;
}
std::string own_chart(const json& entry) {
    constexpr std::size_t most_curves = 2 * colour_count;
    plot p;
    p.title = text_at(entry, "title"), p.x_label = text_at(entry, "x_label");
    p.target = number_at(entry, "target"), p.target_name = text_at(entry, "target_name");
    p.logarithmic_x = at(entry, "logarithmic_x") == true, p.from_zero = at(entry, "from_zero") == true;
    if (const auto& curves = at(entry, "curves"); curves.is_array())
        for (const auto& one : curves) {
            curve c;
            c.name = text_at(one, "name"), c.colour = static_cast<int>(p.curves.size()) + 1;
            c.x = numbers_of(at(one, "x")), c.y = numbers_of(at(one, "y"));
            const auto count = std::min(c.x.size(), c.y.size());
            c.x.resize(count), c.y.resize(count);
            if (p.curves.size() < most_curves) p.curves.push_back(std::move(c));
        }
    return chart(p, text_at(entry, "note"));
}
std::string own_table(const json& entry) {
    constexpr std::size_t most_columns = 24;
    const auto cells = [](const json& row) {
        std::vector<std::string> some;
        if (row.is_array())
            for (const auto& cell : row)
                if (some.size() < most_columns) some.push_back(shown(cell));
        return some;
    };
    table t;
    t.caption = text_at(entry, "title"), t.head = cells(at(entry, "head"));
    if (const auto& rows = at(entry, "rows"); rows.is_array())
        for (const auto& row : rows)
            if (auto some = cells(row); !some.empty()) t.rows.push_back(std::move(some));
    return t.rows.empty() ? std::string{} : to_html(t);
}

/// How often each rank comes, 1: as often as where samples are calibrated.
curve ranks_of(const run_data& r) {
    curve c;
    double sum = 0;
    if (const auto& ranks = at(r.report, "held_out_values.ranks"); ranks.is_array())
        for (const auto& n : ranks) {
            c.x.push_back(static_cast<double>(c.x.size()));
            c.y.push_back(n.is_number() ? n.get<double>() : NAN);
            sum += c.y.back();
        }
    for (double& v : c.y) v *= static_cast<double>(c.y.size()) / sum;
    return c;
}
facts held_out_facts(const run_data& r) {
    const auto& held = at(r.report, "held_out_values");
    facts f;
    const auto add = [&](const std::string& name, const char* key, const auto& text) {
        if (const auto v = number_at(held, key)) f.emplace_back(name, text(*v));
    };
    const auto plain = [](double v) { return shown(v); };
    add("Values that were predicted", "predicted", plain);
    add("Of so many observations", "observations", plain);
    add("Predictions of each", "samples", plain);
    if (f.empty()) return f;
    for (const char* level : {"50", "80", "95"}) {
        const auto error = number_at(held, std::string("coverage_error.") + level);
        add(std::string("In the central intervals of ") + level + " %", (std::string("coverage.") + level).c_str(),
            [&](double v) { return percent(v) + (error ? " \xC2\xB1 " + percent(*error) : ""); });
    }
    add("Error of the mean prediction, over sigma_y (1 at best)", "rms", plain);
    add("Error of the mean prediction, over the values", "relative_error", percent);
    return f;
}

}  // namespace

std::string held_out_section(const runs& all) {
    const auto rows = fact_table(all, held_out_facts, "Predictions");
    if (rows.empty()) return rows;
    auto p = over(all, "Ranks of held-out values among their predictions", ranks_of);
    p.x_label = "predictions below the value";
    p.target = 1;
    p.target_name = "calibrated";
    p.from_zero = true;
    const std::string out = "<h2 id=\"held-out\">Held-out values</h2>\n" + rows;
    if (!has_points(p)) return out;
    return out + "<div class=\"one-chart\">" +
           card(p, line_plot(p), "",
                "How often each rank comes, over how often it should: high at both ends where predictions are spread "
                "too "
                "little, in the middle where too much.") +
           "</div>\n";
}

std::string result_section(const runs& all) {
    bool any = false;
    const auto out = beside(all, [&](const run_data& r) {
        std::string charts, tables;
        const auto each = [&](const char* key, std::string& all_of_them, auto to_html) {
            std::size_t count = 0;
            if (const auto& some = at(r.report, key); some.is_array())
                for (const auto& entry : some)
                    if (entry.is_object() && count++ < most_charts) all_of_them += to_html(entry);
        };
        each("charts", charts, own_chart);
        each("tables", tables, own_table);
        any = any || !charts.empty() || !tables.empty();
        return (charts.empty() ? "" : "<div class=\"grid\">" + charts + "</div>\n") + tables;
    });
    return any ? "<h2 id=\"results\">Results</h2>\n" + out : std::string{};
}

std::string curve_section(const runs& all) {
    std::vector<std::string> charts;
    const auto add = [&](std::string c) {
        if (!c.empty() && charts.size() < most_charts) charts.push_back(std::move(c));
    };
    auto keys = keys_of(all);
    const auto lap_chart = [&](const std::string& key, const std::string& title) {
        keys.erase(key);
        return over(all, title, [&](const run_data& r) { return curve_of(laps_of(r), key); });
    };
    for (const auto& k : first_charts) {
        auto p = lap_chart(k.key, k.title);
        if (std::string_view(k.key) == "data_residual") {
            p.target = expected_residual(all.front());
            p.target_name = "samples fit the data";
        }
        p.from_zero = std::string_view(k.key) != "loss";
        add(chart(p, k.note));
    }
    for (std::size_t k = 0; k < all.size(); ++k) add(status_chart(all[k], letter(all, k)));
    for (const auto& k : fault_charts) {
        auto p = lap_chart(k.key, k.title);
        const bool any = std::any_of(p.curves.begin(), p.curves.end(), [](const curve& c) {
            return std::any_of(c.y.begin(), c.y.end(), [](double v) { return v > 0; });
        });
        p.from_zero = true;
        if (any) add(chart(p, k.note));
    }
    for (const auto& key : std::set<std::string>(keys)) add(chart(lap_chart(key, label_of(key)), ""));
    auto evidence = over(all, "log p(y) per observation", evidence_curve);
    evidence.x_label = "lap of the Gaussian stage";
    add(chart(evidence, "Evidence of the Gaussian prior that each lap began with: it rises where all is well."));
    if (all.size() == 1) {
        plot p;
        p.title = "Seconds of a lap", p.from_zero = true;
        for (const auto& [key, name] : {std::pair{"e_seconds", "sampling"}, std::pair{"m_seconds", "training"}}) {
            auto c = curve_of(laps_of(all[0]), key);
            c.name = name, c.colour = static_cast<int>(p.curves.size()) + 1;
            p.curves.push_back(std::move(c));
        }
        add(chart(p, ""));
    }
    for (auto& p : point_plots(all))
        add(card(p, scatter_plot(p), "", "Two coordinates of samples, and of the truth that was never seen."));
    if (charts.empty()) return {};
    std::string out = "<h2 id=\"curves\">Along the laps</h2>\n<div class=\"grid\">";
    for (const auto& c : charts) out += c;
    out += "</div>\n";
    for (std::size_t k = 0; k < all.size(); ++k)
        if (const auto rows = lap_table(all[k]); !rows.empty())
            out += "<details><summary>All numbers of the laps" + (all.size() > 1 ? ", " + letter(all, k) : "") +
                   "</summary>" + rows + "</details>";
    return out;
}

}  // namespace support::html
