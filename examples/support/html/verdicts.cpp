// SPDX-License-Identifier: Apache-2.0
#include "support/html/verdicts.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>

#include "support/html/text.hpp"
#include "support/residual.hpp"

namespace support::html {

using diem::io::json;

namespace {

using list = std::vector<verdict>;

void sort(list& v) {
    std::stable_sort(v.begin(), v.end(), [](const verdict& a, const verdict& b) { return a.light > b.light; });
}

/// "3 of 8 laps are done", or what else the program counts.
std::string progress_of(const run_data& r) {
    const auto done = number_at(r.report, "progress.done"), total = number_at(r.report, "progress.total");
    if (done && total)
        return shown(*done) + " of " + shown(*total) + " " + text_at(r.report, "progress.what") + " are done";
    const auto planned = planned_laps(r);
    const auto laps = std::to_string(laps_done(r));
    return (planned ? laps + " of " + shown(*planned) : laps) + " laps are done";
}

void judge_status(list& v, const run_data& r) {
    const auto status = text_at(r.report, "status"), message = text_at(r.report, "message");
    const auto progress = progress_of(r);
    const bool resumes = at(r.report, "resumes") != false;
    if (status == "completed")
        v.push_back(
            {level::good, "The run is complete",
             laps_done(r) > 0 ? progress.substr(0, progress.find(" are")) + " of the diffusion prior are done." : ""});
    else if (status == "running")
        v.push_back({level::note, "The run goes on",
                     progress + "; this page is written again as the run goes on, and loads itself." +
                         (resumes ? " If no program works in its folder any more, --resume goes on." : "")});
    else if (status == "cancelled")
        v.push_back({level::warning, "The run was stopped",
                     progress + "." + (resumes ? " The same command with --resume goes on where it was." : "")});
    else if (status == "rejected")
        v.push_back({level::bad, "A lap went wrong",
                     message.empty() ? "The prior is that of the last good lap." : message + "."});
    else if (!status.empty())
        v.push_back({level::warning, "The run ended otherwise: " + status, message});
}

void judge_coverage(list& v, const run_data& r) {
    const auto features = number_at(r.report, "features"), unseen = number_at(r.report, "unseen_features"),
               items = number_at(r.report, "unseen_items"), count = number_at(r.report, "observations");
    if (features && unseen && *features > 0) {
        const double share = *unseen / *features;
        if (share > 0)
            v.push_back({share > 0.5 ? level::bad : level::warning,
                         percent(share) + " of the values of x were never seen",
                         "No observation shows them: what the prior says there is a guess."});
        else if (const auto never = number_at(r.report, "unseen_directions"); never && *never > 0)
            v.push_back(
                {*never > 0.5 ? level::bad : level::warning,
                 percent(*never) + " of the directions of x were never seen",
                 "Every value is seen, but not every difference between them: what the prior says there is a guess."});
        else if (const auto seldom = number_at(r.report, "seldom_features"); seldom && *seldom > 0)
            v.push_back(
                {level::note, percent(*seldom / *features) + " of the values of x were seldom seen",
                 "Less than a hundredth as often as the others: there the prior is learned from few observations."});
        else
            v.push_back({level::good, "Every value of x is seen by some observation", ""});
    }
    if (items && count && *items > 0 && *count > 0)
        v.push_back({level::warning, percent(*items / *count) + " of the observations show nothing",
                     "Their samples are samples of the prior."});
}

void judge_residual(list& v, const run_data& r, std::optional<double> residual, const std::string& whose) {
    const double expected = expected_residual(r);
    if (!residual) return;
    const double ratio = *residual / expected;
    const std::string figures = "Data residual " + shown(*residual) + " " + whose + "; near " + shown(expected) +
                                " where samples fit the data and their noise.";
    if (!(ratio <= bad_residual))
        v.push_back({level::bad, "Samples do not fit the data",
                     figures + " Are operator and sigma_y those of these observations?"});
    else if (ratio > poor_residual)
        v.push_back({level::warning, "Samples fit the data poorly", figures});
    else if (ratio < 0.3)
        v.push_back({level::warning, "Samples are nearer to the data than the noise allows",
                     figures + " sigma_y may be too large."});
    else
        v.push_back({level::good, "Samples fit the data", figures + " It says nothing of what was not observed."});
}

/// `clipped`: what leaves the range is brought to its edge before anything is learned from it.
void judge_samples(list& v, const json& lap, bool clipped) {
    const double outside = number_at(lap, "outside_share").value_or(0),
                 broken = number_at(lap, "non_finite_share").value_or(0);
    const auto samples = number_at(lap, "samples"), removed = number_at(lap, "removed");
    if (outside > 0.001 && clipped)
        v.push_back({level::note, percent(outside) + " of the samples had values beyond the range of the data",
                     "Those were brought to its edge (em.low, em.high) before the network learned from them."});
    else if (outside > 0.001)
        v.push_back(
            {outside > 0.25   ? level::bad
             : outside > 0.02 ? level::warning
                              : level::note,
             percent(outside) + " of the samples leave the range of the data",
             "They hold values beyond [-4, 4], or what em.low and em.high say. Data should lie in about [-2, 2]; "
             "\"em.out_of_range\" can clip or remove such samples."});
    if (broken > 0)
        v.push_back({broken > 0.001 ? level::bad : level::warning, percent(broken) + " of the samples were not finite",
                     "They were replaced by others."});
    if (samples && removed && *removed > 0 && *samples > 0)
        v.push_back({*removed / *samples > 0.1 ? level::warning : level::note,
                     percent(*removed / *samples) + " of the samples were removed",
                     "They were out of range and not learned from."});
}

void judge_solver(list& v, const json& shares) {
    if (!shares.is_array()) return;
    const auto share = [&](std::size_t k) {
        return k < shares.size() && shares[k].is_number() ? shares[k].get<double>() : 0.0;
    };
    const double broken = share(2) + share(3), limited = share(1), stuck = share(4);
    if (broken > 0.01)
        v.push_back({broken > 0.2 ? level::bad : level::warning, percent(broken) + " of the linear solves broke down",
                     "The Jacobian of the denoiser was not positive definite there. Solver fom or gmres, or covariance "
                     "blended, are more robust."});
    if (stuck > 0.01)
        v.push_back({level::warning, percent(stuck) + " of the linear solves stagnated",
                     "Rounding did not let them reach their tolerance."});
    if (broken <= 0.01 && stuck <= 0.01)
        v.push_back({level::good, "The linear solves hold",
                     limited > 0.01
                         ? percent(limited) + " used all their iterations, which is meant where there are few."
                         : "All but a few converged."});
}

void judge_learning(list& v, const std::vector<json>& laps) {
    std::vector<double> loss, change;
    for (const auto& lap : laps) {
        if (const auto x = number_at(lap, "loss")) loss.push_back(*x);
        if (const auto x = number_at(lap, "change")) change.push_back(*x);
    }
    if (loss.size() > 1) {
        const double least = *std::min_element(loss.begin(), loss.end());
        if (loss.back() > 1.2 * least)
            v.push_back({level::warning, "The training loss rises",
                         "It was " + shown(least) + " at its least and is " + shown(loss.back()) +
                             ": fewer laps, a smaller rate or more samples may help."});
    }
    if (change.empty()) return;
    const double last = change.back();
    if (last > 0.5)
        v.push_back({level::warning, "The prior still changes much",
                     "Mean and spread of the samples moved by " + percent(last) + " of their spread in the last lap."});
    else if (last > 0.05)
        v.push_back({level::note, "The prior still changes",
                     "Mean and spread of the samples moved by " + percent(last) +
                         " of their spread in the last lap: more laps may help."});
    else
        v.push_back({level::good, "The prior hardly changes any more",
                     "Mean and spread of the samples moved by " + percent(last) + " of their spread in the last lap."});
}

void judge_evidence(list& v, const run_data& r) {
    std::vector<double> e;
    for (const double x : evidence_curve(r).y)
        if (std::isfinite(x)) e.push_back(x);
    if (e.size() < 3) return;
    const double gain = e.back() - e.front(), last = e.back() - e[e.size() - 2];
    const double most = *std::max_element(e.begin(), e.end());
    if (e.back() < most - 0.01 * std::max(std::abs(gain), 1.0))
        v.push_back({level::warning, "The evidence of the Gaussian prior fell",
                     "log p(y) per observation was " + shown(most) + " and ended at " + shown(e.back()) + "."});
    else if (last > 0.02 * std::abs(gain))
        v.push_back(
            {level::note, "The Gaussian prior had not settled",
             "The last of its laps raised log p(y) per observation by " + shown(last) + ": more of them may help."});
    else
        v.push_back(
            {level::good, "The Gaussian prior settled", "log p(y) per observation rose to " + shown(e.back()) + "."});
}

/// What the program itself finds.
void judge_results(list& v, const run_data& r) {
    constexpr std::size_t most = 32;
    const auto& own = at(r.report, "verdicts");
    if (!own.is_array()) return;
    for (std::size_t k = 0; k < std::min(own.size(), most); ++k) {
        const auto title = text_at(own[k], "title"), light = text_at(own[k], "level");
        if (title.empty()) continue;
        v.push_back({light == "good"      ? level::good
                     : light == "warning" ? level::warning
                     : light == "bad"     ? level::bad
                                          : level::note,
                     title, text_at(own[k], "text")});
    }
}

/// Against filling in the mean, and the diffusion prior against the Gaussian.
void judge_restoration(list& v, const run_data& r) {
    const auto fill = number_at(r.report, "psnr_mean_fill_db");
    const auto stages = stages_of(r);
    if (stages.empty()) return;
    const auto last = number_at(stages.back(), "psnr_mean_db"), first = number_at(stages.front(), "psnr_mean_db");
    if (fill && last)
        v.push_back({*last > *fill ? level::good : level::bad,
                     *last > *fill ? "Restored images beat filling in the mean"
                                   : "Restored images are worse than filling in the mean",
                     "PSNR of the mean of the samples " + shown(*last) + " dB, of deleted pixels at their mean " +
                         shown(*fill) + " dB."});
    if (stages.size() > 1 && first && last && *last < *first)
        v.push_back({level::warning, "The diffusion prior restores worse than the Gaussian",
                     shown(*last) + " dB against " + shown(*first) +
                         " dB: use the Gaussian, or more laps and a larger network."});
}

/// Whether samples of held-out items are spread as their truth is.
void judge_intervals(list& v, const run_data& r) {
    const auto stages = stages_of(r);
    if (stages.empty() || !at(stages.back(), "coverage").is_object()) return;
    const auto& coverage = at(stages.back(), "coverage");
    std::vector<double> shares;
    for (const char* level : {"0.5", "0.8", "0.95"})
        if (const auto found = coverage.find(level); found != coverage.end() && found->is_number())
            shares.push_back(found->get<double>());
    if (shares.size() != 3) return;
    const std::string figures = "Their central intervals of 50, 80 and 95 % hold " + percent(shares[0]) + ", " +
                                percent(shares[1]) + " and " + percent(shares[2]) + " of the held-out values.";
    const double off = shares[1] - 0.8;
    if (off < -0.05)
        v.push_back({off < -0.2 ? level::bad : level::warning, "Samples are spread too little",
                     figures + " Their spread says less than it seems to of how wrong they are."});
    else if (off > 0.05)
        v.push_back({level::warning, "Samples are spread too much", figures});
    else
        v.push_back({level::good, "Samples are spread as the truth is", figures});
}

/// Whether values of y that were kept back lie where samples say.
void judge_held_out(list& v, const run_data& r) {
    const auto& held = at(r.report, "held_out_values");
    const auto status = text_at(r.report, "status");
    if (!held.is_object()) {
        if (text_at(r.report, "program") == "diem fit" && (status == "completed" || status == "rejected"))
            v.push_back(
                {level::note, "No values were held out",
                 "\"held_out\": 0.05 keeps a twentieth of the values of y back, and says whether samples predict "
                 "them."});
        return;
    }
    const auto middle = number_at(held, "coverage.80"), count = number_at(held, "predicted");
    if (!middle || !count) {
        if (const auto words = text_at(held, "words"); !words.empty())
            v.push_back({level::note, "Held-out values could not be compared with predictions", capital(words) + "."});
        return;
    }
    const std::string title =
        "Intervals of 80 % hold " + percent(*middle) + " of " + shown(*count) + " held-out values";
    const std::string words = capital(text_at(held, "words")) + ".";
    if (at(held, "known") != true)
        v.push_back({level::note, title, words});
    else if (at(held, "calibrated") == true)
        v.push_back({level::good, title + ": calibrated", words});
    else
        v.push_back({std::abs(*middle - 0.8) > 0.2 ? level::bad : level::warning, title, words});
}

void judge_noise(list& v, const run_data& r) {
    const auto& noise = at(r.report, "noise");
    if (at(noise, "off") == true)
        v.push_back(
            {level::bad, capital(text_at(noise, "words")),
             "A prior learned with another sigma_y than that of the data is wrong by the difference: too large, and "
             "detail is taken for noise; too small, and noise is learned as detail."});
    else if (const auto words = text_at(noise, "words"); !words.empty())
        v.push_back(
            {at(noise, "known") == true ? level::good : level::note, capital(words),
             "Too large a sigma_y shows where some part of what is observed varies little; too small a one may not "
             "show, behind a mask it does not."});
}

}  // namespace

std::vector<verdict> verdicts_of_result(const run_data& r) {
    list v;
    const auto laps = laps_of(r);
    if (!laps.empty()) {
        judge_residual(v, r, number_at(laps.back(), "data_residual"), "in the last lap");
        judge_samples(v, laps.back(), text_at(r.report, "em.out_of_range") == "clip");
        judge_solver(v, at(laps.back(), "solver_shares"));
        judge_learning(v, laps);
    } else {
        judge_residual(v, r, number_at(r.report, "data_residual"), "of the samples");
        judge_solver(v, at(r.report, "solver_shares"));
    }
    judge_evidence(v, r);
    judge_results(v, r);
    judge_restoration(v, r);
    judge_intervals(v, r);
    judge_held_out(v, r);
    sort(v);
    return v;
}

std::vector<verdict> verdicts_of(const run_data& r) {
    list v;
    judge_status(v, r);
    judge_coverage(v, r);
    judge_noise(v, r);
    const auto others = verdicts_of_result(r);
    v.insert(v.end(), others.begin(), others.end());
    sort(v);
    return v;
}

}  // namespace support::html
