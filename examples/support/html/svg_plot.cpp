// SPDX-License-Identifier: Apache-2.0
#include "support/html/svg_plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <utility>

#include "support/html/text.hpp"
#include "support/report.hpp"

namespace support::html {

namespace {

constexpr double width = 360, height = 196, left = 48, right = 8, top = 10, bottom = 38;
constexpr std::size_t most_points = 300, most_marks = 40;

/// An interval of numbers along an interval of pixels.
struct axis {
    double low = 0, high = 1, from = 0, to = 1;
    bool logarithmic = false;

    void cover(double value) {
        if (!std::isfinite(value)) return;
        low = std::min(low, value);
        high = std::max(high, value);
    }
    /// Something on each side; a single value in the middle.
    void settle(double margin) {
        if (!(low <= high)) low = 0, high = 1;
        if (logarithmic) {
            low /= 1.2, high *= 1.2;
            return;
        }
        const double extent = high - low;
        const double room = extent > 0 ? margin * extent : std::max(0.5 * std::abs(low), 1e-300);
        low -= room;
        high += room;
    }
    [[nodiscard]] double operator()(double value) const {
        const auto f = [&](double v) { return logarithmic ? std::log(v) : v; };
        const double share = (f(value) - f(low)) / (f(high) - f(low));
        return from + std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * (to - from);
    }
};
axis empty_axis(double from, double to) {
    constexpr double most = std::numeric_limits<double>::infinity();
    return {most, -most, from, to, false};
}

std::string px(double value) { return number(value, 1); }
std::string coloured(const char* what, int colour) {
    const bool second = colour > colour_count;
    return std::string(" class=\"") + what + std::to_string(second ? colour - colour_count : colour) +
           (second ? " second\"" : "\"");
}

std::string text(double x, double y, const char* anchor, const std::string& content) {
    return "<text x=\"" + px(x) + "\" y=\"" + px(y) + "\" text-anchor=\"" + anchor + "\">" + escape(content) +
           "</text>";
}
std::string line(double x1, double y1, double x2, double y2, const char* kind) {
    return "<line class=\"" + std::string(kind) + "\" x1=\"" + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) +
           "\" y2=\"" + px(y2) + "\"/>";
}

std::string opened(const plot& p) {
    return "<svg viewBox=\"0 0 " + number(width, 0) + " " + number(height, 0) + "\" role=\"img\" aria-label=\"" +
           escape(p.title) + "\">";
}
void cover_points(const plot& p, axis& x, axis& y) {
    for (const auto& c : p.curves)
        for (std::size_t k = 0; k < c.y.size(); ++k) {
            x.cover(c.x[k]);
            y.cover(c.y[k]);
        }
}
/// What is written beside ticks: no two alike.
std::vector<std::string> tick_texts(const std::vector<double>& some) {
    std::vector<std::string> texts;
    for (int digits = 0; digits <= 9; ++digits) {
        texts.clear();
        for (const double v : some) {
            char text[32];
            std::snprintf(text, sizeof text, "%.*g", digits + 3, v);
            texts.push_back(digits == 0 ? shown(v) : text);
        }
        if (std::adjacent_find(texts.begin(), texts.end()) == texts.end()) break;
    }
    return texts;
}
/// Whole numbers only where x counts.
std::string frame(const axis& x, const axis& y, const std::string& x_label, bool counts) {
    std::string out;
    const auto rows = ticks(y.low, y.high, 4, y.logarithmic);
    const auto texts = tick_texts(rows);
    for (std::size_t k = 0; k < rows.size(); ++k)
        out += line(x.from, y(rows[k]), x.to, y(rows[k]), "grid") + text(x.from - 6, y(rows[k]) + 4, "end", texts[k]);
    for (const double v : ticks(x.low, x.high, 6, x.logarithmic))
        if (!counts || v == std::round(v)) out += text(x(v), height - bottom + 16, "middle", shown(v));
    out += line(x.from, height - bottom, x.to, height - bottom, "axis");
    return out + text((x.from + x.to) / 2, height - 5, "middle", x_label);
}

/// Indices of the points that are drawn.
std::vector<std::size_t> drawn(std::size_t count) {
    std::vector<std::size_t> some;
    const std::size_t step = std::max<std::size_t>(1, (count + most_points - 1) / most_points);
    for (std::size_t k = 0; k < count; k += step) some.push_back(k);
    if (count > 0 && some.back() + 1 != count) some.push_back(count - 1);
    return some;
}

}  // namespace

std::vector<double> ticks(double low, double high, int count, bool logarithmic) {
    std::vector<double> some;
    if (!(low < high) || !std::isfinite(high - low)) return some;
    if (logarithmic) {
        const double first = std::ceil(std::log10(low) - 1e-9), last = std::floor(std::log10(high) + 1e-9);
        const double step = std::max(1.0, std::ceil((last - first + 1) / (count + 1)));
        for (double k = first; k <= last; k += step) some.push_back(std::pow(10, k));
        if (some.size() > 1) return some;
        some.clear();  // less than a decade and a half: as if it were linear
    }
    const double rough = (high - low) / count, power = std::pow(10, std::floor(std::log10(rough)));
    const double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
    const double first = std::ceil(low / step - 1e-9);
    for (int k = 0; k <= 2 * count && (first + k) * step <= high + 1e-9 * step; ++k)
        some.push_back((first + k) == 0 ? 0.0 : (first + k) * step);
    return some;
}

bool has_points(const plot& p) {
    return std::any_of(p.curves.begin(), p.curves.end(), [](const curve& c) {
        return std::any_of(c.y.begin(), c.y.end(), [](double v) { return std::isfinite(v); });
    });
}

std::string line_plot(const plot& p) {
    axis x = empty_axis(left, width - right), y = empty_axis(height - bottom, top);
    cover_points(p, x, y);
    if (p.target) y.cover(*p.target);
    y.logarithmic = y.low > 0 && y.high > 100 * y.low;
    if (p.from_zero && !y.logarithmic) y.cover(0);
    x.logarithmic = p.logarithmic_x && x.low > 0;
    if (!(x.low < x.high)) x.settle(0);  // one lap
    y.settle(0.06);
    if (p.from_zero && !y.logarithmic) y.low = std::max(y.low, 0.0);
    std::string out = opened(p) + frame(x, y, p.x_label, !x.logarithmic);
    if (p.target) out += line(x.from, y(*p.target), x.to, y(*p.target), "target");
    for (const auto& c : p.curves) {
        std::string path, marks;
        const auto some = drawn(c.y.size());
        bool pen = false;
        for (const auto k : some) {
            const bool here = std::isfinite(c.y[k]) && (!y.logarithmic || c.y[k] > 0);
            if (here) {
                path += (pen ? "L" : "M") + px(x(c.x[k])) + " " + px(y(c.y[k]));
                if (some.size() <= most_marks)
                    marks += "<circle" + coloured("dot", c.colour) + " cx=\"" + px(x(c.x[k])) + "\" cy=\"" +
                             px(y(c.y[k])) + "\" r=\"2.5\"><title>" +
                             escape((c.name.empty() ? "" : c.name + ", ") + p.x_label + " " + shown(c.x[k]) + ": " +
                                    shown(c.y[k])) +
                             "</title></circle>";
            }
            pen = here;
        }
        out += "<path" + coloured("line", c.colour) + " d=\"" + path + "\"/>" + marks;
    }
    return out + "</svg>";
}

std::string share_plot(const plot& p) {
    axis x = empty_axis(left, width - right), y{0, 1, height - bottom, top, false};
    std::size_t count = 0;
    for (const auto& c : p.curves) {
        for (const double v : c.x) x.cover(v);
        count = std::max(count, c.y.size());
    }
    const auto some = drawn(count);
    const double each = (x.to - x.from) / static_cast<double>(std::max<std::size_t>(some.size(), 1));
    std::string out = opened(p);
    for (const double v : {0.0, 0.5, 1.0})
        out += line(x.from, y(v), x.to, y(v), "grid") + text(x.from - 6, y(v) + 4, "end", percent(v));
    const std::size_t labelled = std::max<std::size_t>(1, (some.size() + 7) / 8);
    for (std::size_t i = 0; i < some.size(); ++i) {
        const double begin = x.from + each * static_cast<double>(i);
        double sum = 0;
        for (const auto& c : p.curves) {
            const double share = some[i] < c.y.size() ? c.y[some[i]] : 0;
            if (!(share > 0)) continue;
            const double upper = y(sum + share), lower = y(sum);
            sum += share;
            out += "<rect" + coloured("area", c.colour) + " x=\"" + px(begin) + "\" y=\"" + px(upper) + "\" width=\"" +
                   px(std::max(each - (each > 4 ? 1.0 : 0.0), 0.5)) + "\" height=\"" + px(lower - upper) +
                   "\"><title>" +
                   escape(c.name + ", " + p.x_label + " " + shown(c.x[some[i]]) + ": " + percent(share)) +
                   "</title></rect>";
        }
        if (i % labelled == 0 && !p.curves.empty() && some[i] < p.curves[0].x.size())
            out += text(begin + each / 2, height - bottom + 16, "middle", shown(p.curves[0].x[some[i]]));
    }
    return out + text((x.from + x.to) / 2, height - 5, "middle", p.x_label) + "</svg>";
}

std::string scatter_plot(const plot& p) {
    axis x = empty_axis(left, width - right), y = empty_axis(height - bottom, top);
    cover_points(p, x, y);
    x.settle(0.04);
    y.settle(0.04);
    const double unit = std::max((x.high - x.low) / (x.to - x.from), (y.high - y.low) / (y.from - y.to));
    for (auto [a, extent] : {std::pair{&x, x.to - x.from}, std::pair{&y, y.from - y.to}}) {
        const double middle = (a->low + a->high) / 2;
        a->low = middle - unit * extent / 2;
        a->high = middle + unit * extent / 2;
    }
    std::string out = opened(p) + frame(x, y, p.x_label, false);
    for (const auto& c : p.curves) {
        std::string path;  // a line of no length with round ends is a point, and short
        for (std::size_t k = 0; k < c.y.size(); ++k)
            if (std::isfinite(c.x[k]) && std::isfinite(c.y[k]))
                path += "M" + px(x(c.x[k])) + " " + px(y(c.y[k])) + "h0";
        out += "<path" + coloured("cloud", c.colour) + " d=\"" + path + "\"/>";
    }
    return out + "</svg>";
}

std::string legend(const plot& p) {
    if (p.curves.size() < 2 && !p.target) return {};
    std::string out = "<ul class=\"legend\">";
    for (const auto& c : p.curves)
        if (!c.name.empty()) out += "<li><span" + coloured("key", c.colour) + "></span>" + escape(c.name) + "</li>";
    if (p.target) out += "<li><span class=\"key-target\"></span>" + escape(p.target_name) + "</li>";
    return out + "</ul>";
}

}  // namespace support::html
