// SPDX-License-Identifier: Apache-2.0
#include "support/html/pictures.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "support/html/text.hpp"
#include "support/memory.hpp"

namespace support::html {

namespace fs = std::filesystem;

namespace {

constexpr const char* observed_group = "What was observed";
constexpr const char* restored_group = "Posterior samples";
constexpr const char* prior_group = "Samples of the prior";
constexpr const char* laps_group = "Samples of the prior along the laps";
constexpr const char* posterior_laps_group = "Posterior samples along the laps";

std::vector<picture> known(const std::string& program) {
    const auto entry = [](const char* group, const char* file, const char* title, const char* caption) {
        picture p;
        p.group = group, p.title = title, p.caption = caption, p.file = file;
        return p;
    };
    std::vector<picture> all{
        entry(observed_group, "observed.png", "Observations", "The first ones. Grey: hidden, where a mask hides."),
    };
    if (program == "diem posterior") {
        all.push_back(entry(restored_group, "samples.png", "One sample of each", "In the order of the observations."));
        all.push_back(entry(restored_group, "mean.png", "Mean of the samples", ""));
        all.push_back(entry(restored_group, "std.png", "Standard deviation of the samples",
                            "Black: none. White: the largest. Where it is large the data say little."));
        return all;
    }
    all.push_back(entry(observed_group, "seen.png", "How often each pixel is seen",
                        "Black: by no observation; the prior is a guess there. White: as often as any."));
    all.push_back(
        entry(prior_group, "samples_diffusion.png", "Of the diffusion prior", "Nothing was observed of these."));
    all.push_back(entry(prior_group, "samples_gaussian.png", "Of the Gaussian prior", ""));
    return all;
}

/// K of BEFORE K AFTER in the folder, in order; of laps of this run alone.
std::vector<long> numbers_of(const fs::path& folder, const std::string& before, const std::string& after,
                             const std::set<long>& laps) {
    std::set<long> found;
    std::error_code code;
    for (fs::directory_iterator e(folder, code), end; !code && e != end; e.increment(code)) {
        const auto name = e->path().filename().string();
        if (!name.starts_with(before) || !name.ends_with(after) || name.size() <= before.size() + after.size())
            continue;
        const auto digits = name.substr(before.size(), name.size() - before.size() - after.size());
        if (digits.size() < 9 && digits.find_first_not_of("0123456789") == std::string::npos)
            if (const long k = std::stol(digits); laps.contains(k)) found.insert(k);
    }
    return {found.begin(), found.end()};
}

/// The first, the last, and those between at doubling distances.
std::vector<long> some_of(const std::vector<long>& all) {
    if (all.size() <= most_lap_pictures) return all;
    std::set<long> some{all.front(), all.back()};
    for (std::size_t k = 1; k < all.size() && some.size() < most_lap_pictures; k *= 2) some.insert(all[k]);
    return {some.begin(), some.end()};
}

void add_laps(album& a, std::vector<picture>& all, const run_data& r, const char* group, const std::string& after) {
    std::set<long> laps;
    for (const double k : curve_of(laps_of(r), "lap").x)
        if (k >= 0 && k < 1e9) laps.insert(static_cast<long>(k));
    const auto numbers = numbers_of(r.folder, "lap_", after, laps), some = some_of(numbers);
    for (const long k : some) {
        picture p;
        p.group = group, p.title = "Lap " + std::to_string(k), p.file = "lap_" + std::to_string(k) + after;
        all.push_back(std::move(p));
    }
    if (some.size() < numbers.size())
        a.left_out.push_back(std::to_string(numbers.size() - some.size()) + " of the " +
                             std::to_string(numbers.size()) + " pictures lap_*" + after +
                             ": they are beside this page");
}

enum class reading { read, missing, unreadable };
reading read_png(const fs::path& path, picture& p) {
    std::error_code code;
    if (!fs::is_regular_file(path, code)) return reading::missing;
    const auto size = fs::file_size(path, code);
    if (code || size > most_bytes_of_one) return reading::unreadable;
    std::ifstream in(path, std::ios::binary);
    p.bytes.assign(std::istreambuf_iterator<char>(in), {});
    constexpr std::string_view signature("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    if (p.bytes.size() < 33 || !p.bytes.starts_with(signature)) return reading::unreadable;
    const auto number = [&](std::size_t k) {
        long value = 0;
        for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(p.bytes[k + i]);
        return value;
    };
    p.width = number(16), p.height = number(20);
    return reading::read;
}

}  // namespace

album pictures_of(const run_data& r) {
    album a;
    std::vector<picture> all;
    if (const auto& own = at(r.report, "pictures"); own.is_array())
        for (const auto& entry : own) {
            picture p;
            p.file = fs::path(text_at(entry, "file")).filename().string();  // of this folder alone
            p.title = text_at(entry, "title"), p.caption = text_at(entry, "caption"), p.group = text_at(entry, "group");
            if (p.group.empty()) p.group = "Pictures";
            if (!p.file.empty()) all.push_back(std::move(p));
        }
    const auto program = text_at(r.report, "program");
    const auto status = text_at(r.report, "status");
    const bool ended = status != "running" && status != "cancelled", begun = !evidence_curve(r).y.empty();
    for (auto& p : known(program)) {  // none that a run before left in the folder
        const bool diffusion = p.file.ends_with("_diffusion.png"), gaussian = p.file.ends_with("_gaussian.png");
        if ((diffusion && !ended) || (gaussian && !ended && !begun)) continue;
        all.push_back(std::move(p));
    }
    if (program != "diem posterior") {
        add_laps(a, all, r, posterior_laps_group, "_posterior.png");
        add_laps(a, all, r, laps_group, ".png");
    }
    std::set<std::string> taken;
    std::size_t total = 0;
    for (auto& p : all) {
        if (!taken.insert(p.file).second) continue;
        const auto result = read_png(r.folder / p.file, p);
        if (result == reading::missing) continue;
        if (result == reading::unreadable) {
            a.left_out.push_back(p.file + ": no PNG, or larger than " + gib(static_cast<double>(most_bytes_of_one)));
        } else if (total + p.bytes.size() > most_picture_bytes) {
            a.left_out.push_back(p.file + ": the page's pictures would be larger than " +
                                 gib(static_cast<double>(most_picture_bytes)));
        } else {
            total += p.bytes.size();
            if (p.title.empty()) p.title = p.file;
            a.pictures.push_back(std::move(p));
        }
    }
    return a;
}

}  // namespace support::html
