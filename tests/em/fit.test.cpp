// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include <diem/core/random.hpp>
#include <diem/em/fit.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {

// A second, unrelated use: the classical EM of a Gaussian mixture in one dimension.
struct mixture {
    std::vector<double> weight, mean, variance;
};
struct responsibilities {
    std::vector<double> r;  // sample-major, one row per sample
    double log_likelihood = 0;
};

double log_normal(double x, double mean, double variance) {
    return -0.5 * ((x - mean) * (x - mean) / variance + std::log(2 * std::numbers::pi * variance));
}

struct mixture_e_step {
    const std::vector<double>& data;
    responsibilities operator()(const mixture& prior, index_t) const {
        const std::size_t n = data.size(), k = prior.weight.size();
        responsibilities out{std::vector<double>(n * k), 0};
        for (std::size_t i = 0; i < n; ++i) {
            double sum = 0;
            for (std::size_t c = 0; c < k; ++c)
                sum += out.r[i * k + c] =
                    prior.weight[c] * std::exp(log_normal(data[i], prior.mean[c], prior.variance[c]));
            for (std::size_t c = 0; c < k; ++c) out.r[i * k + c] /= sum;
            out.log_likelihood += std::log(sum);
        }
        return out;
    }
};

struct mixture_m_step {
    const std::vector<double>& data;
    mixture operator()(const responsibilities& s, const mixture& last, index_t) const {
        const std::size_t n = data.size(), k = last.weight.size();
        mixture next{std::vector<double>(k), std::vector<double>(k), std::vector<double>(k)};
        for (std::size_t c = 0; c < k; ++c) {
            double mass = 0, first = 0, second = 0;
            for (std::size_t i = 0; i < n; ++i) {
                mass += s.r[i * k + c];
                first += s.r[i * k + c] * data[i];
            }
            const double mean = first / mass;
            for (std::size_t i = 0; i < n; ++i) second += s.r[i * k + c] * (data[i] - mean) * (data[i] - mean);
            next.weight[c] = mass / static_cast<double>(n);
            next.mean[c] = mean;
            next.variance[c] = second / mass;
        }
        return next;
    }
};

std::vector<double> mixture_data() {
    std::vector<double> data;
    for (std::uint32_t i = 0; i < 4000; ++i) {
        const double z = normal<double>({.seed = 1}, i, 0);
        data.push_back(bernoulli({.seed = 2}, i, 0, 0.3) ? -2 + 0.5 * z : 1.5 + 0.8 * z);
    }
    return data;
}

struct log_likelihood {
    double operator()(const responsibilities& s, const mixture&) const { return s.log_likelihood; }
};

// A prior that can only be moved, and steps that count.
struct counter_prior {
    std::unique_ptr<int> laps = std::make_unique<int>(0);
};
struct count_e {
    int* calls;
    std::vector<index_t>* numbers;
    double operator()(counter_prior& p, index_t lap) const {
        ++*calls;
        numbers->push_back(lap);
        return static_cast<double>(*p.laps);
    }
};
struct count_m {
    counter_prior operator()(double, const counter_prior& p, index_t) const {
        counter_prior next;
        *next.laps = *p.laps + 1;
        return next;
    }
};

struct scripted_monitor {
    index_t at = -1;
    em::decision wish = em::decision::go_on;
    std::string* log = nullptr;
    char name = 'a';
    void lap_start(index_t, counter_prior&) {
        if (log) *log += std::string(1, name) + "s ";
    }
    em::decision lap_end(const em::lap_record& r, double, counter_prior&) {
        if (log) *log += std::string(1, name) + "e ";
        return r.lap == at ? wish : em::decision::go_on;
    }
};

struct returns_nothing {
    void operator()(counter_prior&, index_t) const {}
};
struct returns_text {
    std::string operator()(double, const counter_prior&, index_t) const { return {}; }
};
static_assert(em::EStep<count_e, counter_prior>);
static_assert(!em::EStep<returns_nothing, counter_prior>);
static_assert(em::MStep<count_m, double, counter_prior>);
static_assert(!em::MStep<returns_text, double, counter_prior>);

}  // namespace

TEST_CASE("fit: EM of a Gaussian mixture recovers it and never lowers the likelihood") {
    const auto data = mixture_data();
    em::objective measured{log_likelihood{}};
    const auto result = em::fit(mixture{{0.5, 0.5}, {-1, 1}, {1, 1}}, mixture_e_step{data}, mixture_m_step{data},
                                {.max_laps = 500, .tolerance = 1e-10}, measured);
    CHECK(result.reason == em::stop_reason::converged);
    CHECK(result.laps < 500);
    REQUIRE(result.history.size() == static_cast<std::size_t>(result.laps));
    for (std::size_t k = 1; k < result.history.size(); ++k) {
        const double before = result.history[k - 1].objective, after = result.history[k].objective;
        CHECK(after >= before - 1e-12 * std::abs(before));
    }
    CHECK(std::abs(result.prior.weight[0] - 0.3) <= 0.03);
    CHECK(std::abs(result.prior.mean[0] + 2) <= 0.06);
    CHECK(std::abs(result.prior.mean[1] - 1.5) <= 0.06);
    CHECK(std::abs(std::sqrt(result.prior.variance[0]) - 0.5) <= 0.05);
    CHECK(std::abs(std::sqrt(result.prior.variance[1]) - 0.8) <= 0.05);
}

TEST_CASE("fit: laps are counted and numbered; move-only priors") {
    int calls = 0;
    std::vector<index_t> numbers;
    SECTION("max_laps") {
        const auto result =
            em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 3, .first_lap = 5});
        CHECK(calls == 3);
        CHECK(numbers == std::vector<index_t>{5, 6, 7});
        CHECK(*result.prior.laps == 3);
        CHECK(result.laps == 3);
        CHECK(result.reason == em::stop_reason::max_laps);
        CHECK(std::isnan(result.history.back().objective));
    }
    SECTION("no lap at all returns the start") {
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 0});
        CHECK(calls == 0);
        CHECK(*result.prior.laps == 0);
        CHECK(result.history.empty());
    }
    SECTION("a monitor stops") {
        scripted_monitor m{.at = 1, .wish = em::decision::stop};
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 9}, m);
        CHECK(result.reason == em::stop_reason::stopped);
        CHECK(*result.prior.laps == 2);
        CHECK(result.laps == 2);
    }
    SECTION("a rejected lap leaves the last good prior") {
        scripted_monitor m{.at = 2, .wish = em::decision::reject};
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 9}, m);
        CHECK(result.reason == em::stop_reason::rejected);
        CHECK(*result.prior.laps == 2);
        CHECK(result.laps == 2);
        CHECK(result.history.size() == 3);
    }
    SECTION("several monitors, in order; rejection outweighs stop") {
        std::string log;
        scripted_monitor a{.at = 0, .wish = em::decision::reject, .log = &log, .name = 'a'};
        scripted_monitor b{.at = 0, .wish = em::decision::stop, .log = &log, .name = 'b'};
        em::monitors both(a, b);
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 9}, both);
        CHECK(log == "as bs ae be ");
        CHECK(result.reason == em::stop_reason::rejected);
    }
}

namespace {
struct plateau {
    std::vector<double> values;
    std::size_t next = 0;
    double measure(double, counter_prior&) { return values.at(next++); }
};
}  // namespace

TEST_CASE("fit: convergence asks for patience laps in a row; a non-finite objective ends") {
    int calls = 0;
    std::vector<index_t> numbers;
    SECTION("patience") {
        plateau m{{-8, -4, -4, -3, -3, -3, -3}};
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{},
                                    {.max_laps = 7, .tolerance = 1e-6, .patience = 2}, m);
        CHECK(result.reason == em::stop_reason::converged);
        CHECK(result.laps == 6);
    }
    SECTION("not finite: before the M-step") {
        plateau m{{-8, std::numeric_limits<double>::quiet_NaN()}};
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 7}, m);
        CHECK(result.reason == em::stop_reason::non_finite);
        CHECK(result.laps == 1);
        CHECK(*result.prior.laps == 1);
        CHECK(result.history.size() == 2);
    }
    SECTION("tolerance 0 never converges") {
        plateau m{{-3, -3, -3}};
        const auto result = em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, {.max_laps = 3}, m);
        CHECK(result.reason == em::stop_reason::max_laps);
    }
}

TEST_CASE("fit: options out of range are refused; exceptions pass through") {
    int calls = 0;
    std::vector<index_t> numbers;
    const auto run = [&](em::fit_options o) {
        return em::fit(counter_prior{}, count_e{&calls, &numbers}, count_m{}, o).laps;
    };
    CHECK_THROWS_AS(run({.max_laps = -1}), value_error);
    CHECK_THROWS_AS(run({.first_lap = -1}), value_error);
    CHECK_THROWS_AS(run({.tolerance = -1}), value_error);
    CHECK_THROWS_AS(run({.tolerance = std::numeric_limits<double>::quiet_NaN()}), value_error);
    CHECK_THROWS_AS(run({.patience = 0}), value_error);
    CHECK(calls == 0);
    const auto fails = [](counter_prior&, index_t) -> double { throw std::runtime_error("E"); };
    CHECK_THROWS_WITH((void)em::fit(counter_prior{}, fails, count_m{}), "E");
}
