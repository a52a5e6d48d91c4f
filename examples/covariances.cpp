// SPDX-License-Identifier: Apache-2.0

// How much the covariance V that stands for Cov[x | x_t] matters: posteriors q(x_t | y) with
// q(y | x_t) = N(y; A x_hat, Sigma_y + A V A') for each choice of V, against the exact p(x_t | y), over noise levels. The prior
// is a mixture on a random curve in R^3, so that all of them have closed forms. Figure 2 of arXiv 2405.13712.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/backend/eigen.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/posterior/options.hpp>

#include "support/curve.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

using namespace diem;
using backend_type = eigen_backend<double>;
using posterior::covariance;
namespace fs = std::filesystem;

namespace {

/// Units: thickness, sigma_y and sigmas are standard deviations in data units, the curve lies in [-2, 2]^3.
struct settings {
    index_t seeds = 64, components = 256, features = 3;
    double thickness = 1e-2, sigma_y = 1e-2;
    std::vector<double> sigmas{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10};
    index_t points = 512;  ///< of x_t, weighted by each posterior
    metrics::sinkhorn_options sinkhorn{.regularization = 1e-3, .iterations = 64, .tolerance = 0};
    bool scaled = true;  ///< regularization in units of max(1, sigma^2)
    bool annealed = true;
};

const std::vector<covariance> choices{covariance::none, covariance::isotropic, covariance::unit_prior,
                                      covariance::gaussian, covariance::tweedie};

settings read_settings(const fs::path& path) {
    settings s;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("seeds", s.seeds).at_least(1);
        c.optional("components", s.components).at_least(1);
        c.optional("thickness", s.thickness).above(0.0);
        c.optional("sigma_y", s.sigma_y).above(0.0);
        c.optional("sigmas", s.sigmas);
        for (const double sigma : s.sigmas)
            if (!(sigma > 0)) c.fail("sigmas", "expected numbers above 0");
        c.optional("points", s.points).at_least(2);
        c.object("sinkhorn", [&](io::config_object& o) {
            support::read_sinkhorn(o, s.sinkhorn);
            o.optional("scaled", s.scaled);
            o.optional("annealed", s.annealed);
            o.optional("annealing", s.sinkhorn.annealing).above(0.0).below(1.0);
        });
    });
    return s;
}

/// One seed: a prior, an operator of one row, an observation, and what follows from them.
struct problem {
    diffusion::mixture_parameters prior, posterior;
    std::vector<double> a, cov_x;
    double y = 0;

    problem(const settings& s, std::uint64_t seed) {
        const support::curve curve(s.features, seed);
        const auto d = static_cast<std::size_t>(s.features), k = static_cast<std::size_t>(s.components);
        prior.features = s.features;
        prior.weight.assign(k, 1 / static_cast<double>(k));
        prior.mean = curve.points(s.components, seed, 0);
        prior.cov.assign(d * d * k, 0.0);
        for (std::size_t n = 0; n < k; ++n)
            for (std::size_t j = 0; j < d; ++j) prior.cov[n * d * d + j * (d + 1)] = s.thickness * s.thickness;
        a = support::random_projections(1, s.features, 1, seed);
        for (std::size_t j = 0; j < d; ++j) y += a[j] * prior.mean[j];
        y += s.sigma_y * normal<double>({.seed = seed, .lane = random_lane::observation}, 0, 0);
        posterior = diffusion::mixture_posterior(prior, a, {s.sigma_y * s.sigma_y}, {y});
        cov_x = diffusion::mixture_moments(prior).cov;
    }
};

/// a' V a for V = Sigma - Sigma (Sigma + sigma^2 I)^-1 Sigma = (Sigma^-1 + sigma^-2 I)^-1, by the eigenvalues of Sigma.
double projected_harmonic(const std::vector<double>& cov, const std::vector<double>& a, double sigma) {
    const auto d = static_cast<index_t>(a.size());
    reference_backend<double> host;
    std::vector<double> q = cov, l(a.size());
    host.eigh(host_view<double>(q.data(), d, d), host_vector<double>(l.data(), d));
    double sum = 0;
    for (std::size_t j = 0; j < a.size(); ++j) {
        double p = 0;
        for (std::size_t i = 0; i < a.size(); ++i) p += q[j * a.size() + i] * a[i];
        const double v = std::max(l[j], 0.0) * sigma * sigma / (std::max(l[j], 0.0) + sigma * sigma);
        sum += p * p * v;
    }
    return sum;
}

/// Weights proportional to exp(log_weight).
std::vector<double> from_logs(std::vector<double> w) {
    const double top = *std::max_element(w.begin(), w.end());
    for (double& x : w) x = std::exp(x - top);
    return w;
}

/// Points x_t, and weights on them that stand for p(x_t | y) and for q(x_t | y) of each choice. Points come in equal parts from
/// p(x_t) and from p(x_t | y); weighted by importance they stand for either posterior, so that two equal ones differ by
/// nothing.
struct weighted_points {
    std::vector<double> x, target;
    std::vector<std::vector<double>> of_choice;
};

weighted_points weigh(backend_type& b, const settings& s, const problem& p, std::uint64_t seed, std::size_t level) {
    const double sigma = s.sigmas[level];
    const index_t d = s.features, n = s.points, half = n / 2;
    const diffusion::mixture<backend_type> prior(b, p.prior), exact(b, p.posterior);
    batch<backend_type> x(b, d, n), z(b, d, n), log_prior(b, n, 1), log_exact(b, n, 1);
    const random_key key{.seed = seed, .lane = random_lane::prior_sample, .step = static_cast<std::uint32_t>(level)};
    prior.sample(b, key, x.view().item_range(0, half));
    exact.sample(b, key.skip_items(static_cast<std::uint32_t>(half)), x.view().item_range(half, n - half));
    b.fill_normal(key.with_lane(random_lane::user), z.view());
    b.axpby(sigma, z.cview(), 1.0, x.view());
    prior.log_density(b, x.cview(), sigma, log_prior.flat());
    exact.log_density(b, x.cview(), sigma, log_exact.flat());
    const auto linear = prior.linearize(b, x.cview(), sigma);
    const auto mean = to_host(b, linear.mean()), jacobian = to_host(b, linear.jacobian().matrices());
    const auto lp = to_host(b, log_prior), le = to_host(b, log_exact);

    const auto count = static_cast<std::size_t>(n), dim = static_cast<std::size_t>(d);
    std::vector<double> proposal(count), target(count);  // log of (p(x_t) + p(x_t | y)) / p(x_t), and p's weights
    for (std::size_t i = 0; i < count; ++i) {
        const double ratio = le[i] - lp[i];
        proposal[i] = ratio > 0 ? ratio + std::log1p(std::exp(-ratio)) : std::log1p(std::exp(ratio));
        target[i] = ratio - proposal[i];
    }
    weighted_points out{to_host(b, x), from_logs(std::move(target)), {}};
    const double v_gaussian = projected_harmonic(p.cov_x, p.a, sigma);
    for (const covariance choice : choices) {
        std::vector<double> w(count);
        for (std::size_t i = 0; i < count; ++i) {
            double fitted = 0, v = 0;
            for (std::size_t j = 0; j < dim; ++j) fitted += p.a[j] * mean[i * dim + j];
            switch (choice) {
                case covariance::isotropic:
                    v = sigma * sigma;
                    break;
                case covariance::unit_prior:
                    v = sigma * sigma / (1 + sigma * sigma);
                    break;
                case covariance::gaussian:
                    v = v_gaussian;
                    break;
                case covariance::tweedie:
                    for (std::size_t j = 0; j < dim; ++j)
                        for (std::size_t k = 0; k < dim; ++k)
                            v += sigma * sigma * p.a[j] * jacobian[(i * dim + j) * dim + k] * p.a[k];
                    break;
                default:
                    break;
            }
            v += s.sigma_y * s.sigma_y;
            w[i] = -((p.y - fitted) * (p.y - fitted) / v + std::log(v)) / 2 - proposal[i];
        }
        out.of_choice.push_back(from_logs(std::move(w)));
    }
    return out;
}

/// What is found of one seed at one noise level.
struct finding {
    std::vector<double> divergence;  ///< over `choices`
    double marginal_error = 0;       ///< the largest of its transports: how far they are from converged
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(finding, divergence, marginal_error)

/// Debiased divergences of q(x_t | y) to p(x_t | y) at one noise level, for each of the seeds: all their transports in one
/// batch. That of p(x_t | y) to itself is common to the choices.
std::vector<finding> divergences(backend_type& b, const settings& s, const std::vector<std::uint64_t>& seeds,
                                 std::size_t level) {
    std::vector<double> x, u, v;
    index_t problems = 0;
    for (const std::uint64_t seed : seeds) {
        const weighted_points p = weigh(b, s, problem(s, seed), seed, level);
        const auto add = [&](const std::vector<double>& from, const std::vector<double>& to) {
            x.insert(x.end(), p.x.begin(), p.x.end());
            u.insert(u.end(), from.begin(), from.end());
            v.insert(v.end(), to.begin(), to.end());
            ++problems;
        };
        add(p.target, p.target);
        for (const auto& w : p.of_choice) {
            add(p.target, w);
            add(w, w);
        }
    }
    const double scale = std::max(1.0, s.sigmas[level] * s.sigmas[level]);
    auto options = s.sinkhorn;
    if (s.scaled) options.regularization *= scale;
    if (s.annealed) options.start_regularization = 50 * scale;
    const auto points = to_backend(b, x, s.features, problems * s.points);
    const auto results = metrics::transports(b, points.cview(), u, points.cview(), v, problems, options);
    for (const auto& r : results)
        check_value("covariances", std::isfinite(r.cost), "a transport is " + std::string(to_string(r.status)));
    std::vector<finding> out(seeds.size());
    auto r = results.begin();
    for (auto& of_seed : out) {
        const auto self = r++;
        of_seed.marginal_error = self->marginal_error;
        for (std::size_t k = 0; k < choices.size(); ++k, r += 2) {
            of_seed.divergence.push_back(std::max(r[0].cost - (self->cost + r[1].cost) / 2, 1e-6));
            of_seed.marginal_error = std::max({of_seed.marginal_error, r[0].marginal_error, r[1].marginal_error});
        }
    }
    return out;
}

/// Linear interpolation between the sorted values, as numpy.percentile.
double quantile(std::vector<double> values, double p) {
    std::sort(values.begin(), values.end());
    const double at = p * static_cast<double>(values.size() - 1);
    const auto k = static_cast<std::size_t>(at);
    if (k + 1 >= values.size()) return values.back();
    return values[k] + (at - static_cast<double>(k)) * (values[k + 1] - values[k]);
}

/// What must be the same when a run is resumed.
io::json fingerprint(const settings& s) {
    const auto& o = s.sinkhorn;
    return {s.seeds,  s.components, s.thickness, s.sigma_y,    s.sigmas,    s.points,
            s.scaled, s.annealed,   o.annealing, o.iterations, o.tolerance, o.regularization};
}

int run(const settings& s, const fs::path& out, int threads, bool resume) {
    const auto start = std::chrono::steady_clock::now();
    fs::create_directories(out);
    backend_type b(threads);
    std::cout << s.seeds << " mixtures of " << s.components << " components, " << s.sigmas.size() << " noise levels, "
              << s.points << " points each; " << b.threads() << " threads" << std::endl;
    const auto levels = static_cast<index_t>(s.sigmas.size()), total = s.seeds * levels;
    // What is found, number seed * levels + level; stored now and then for a resumed run.
    std::vector<finding> found(static_cast<std::size_t>(total));
    const io::json key = fingerprint(s);
    const fs::path state = out / "state.json";
    index_t done = 0;
    if (resume && fs::exists(state)) {
        const auto stored = io::load_json(state);
        if (stored.at("settings") != key) throw config_error(state.string() + ": of a run with other settings");
        found = stored.at("found").get<std::vector<finding>>();
        for (const auto& f : found) done += f.divergence.empty() ? 0 : 1;
    }
    const auto store = [&] { io::save_json(state, {{"settings", key}, {"found", found}}); };
    support::progress bar("posteriors", static_cast<long>(total), static_cast<long>(done));
    // So many seeds at once that their transports fill the threads, and not so many that the state is seldom stored.
    const auto together = static_cast<std::size_t>(std::max<index_t>(4096 / s.points, 1));
    support::catch_interrupts();
    double stored_at = 0;
    for (std::size_t level = 0; level < s.sigmas.size(); ++level) {
        const auto at = [&](std::uint64_t seed) -> auto& { return found[seed * s.sigmas.size() + level]; };
        std::vector<std::uint64_t> todo;
        for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(s.seeds); ++seed)
            if (at(seed).divergence.empty()) todo.push_back(seed);
        while (!todo.empty() && !support::interrupted()) {
            const auto rest = todo.size() - std::min(todo.size(), together);
            const std::vector<std::uint64_t> seeds(todo.begin() + static_cast<std::ptrdiff_t>(rest), todo.end());
            todo.resize(rest);
            const auto results = divergences(b, s, seeds, level);
            for (std::size_t k = 0; k < seeds.size(); ++k) at(seeds[k]) = results[k];
            done += static_cast<index_t>(seeds.size());
            bar.update(static_cast<long>(done));
            if (bar.elapsed() - stored_at < 10) continue;
            store();
            stored_at = bar.elapsed();
        }
    }
    store();
    if (done < total) {
        bar.finish();
        std::cout << "stopped: run again with --resume to go on\n";
        return 130;
    }
    // values[choice][level][seed]
    std::vector<std::vector<std::vector<double>>> values(choices.size(),
                                                         std::vector<std::vector<double>>(s.sigmas.size()));
    std::vector<double> marginal_errors(s.sigmas.size());
    for (std::size_t k = 0; k < found.size(); ++k) {
        const std::size_t level = k % s.sigmas.size();
        for (std::size_t c = 0; c < choices.size(); ++c) values[c][level].push_back(found[k].divergence[c]);
        marginal_errors[level] = std::max(marginal_errors[level], found[k].marginal_error);
    }
    bar.finish();

    io::json results = io::json::array(), wins = io::json::array();
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> head{"sigma"};
    const auto number = [](double v) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2g", v);
        return std::string(text);
    };
    for (std::size_t k = 0; k < choices.size(); ++k) {
        head.emplace_back(to_string(choices[k]));
        io::json low = io::json::array(), median = io::json::array(), high = io::json::array();
        for (const auto& v : values[k]) {
            low.push_back(quantile(v, 0.25));
            median.push_back(quantile(v, 0.5));
            high.push_back(quantile(v, 0.75));
        }
        results.push_back({{"covariance", to_string(choices[k])},
                           {"quartile_1", low},
                           {"median", median},
                           {"quartile_3", high},
                           {"values", values[k]}});
    }
    head.emplace_back("tweedie wins by");
    for (std::size_t level = 0; level < s.sigmas.size(); ++level) {
        rows.push_back({number(s.sigmas[level])});
        double best = std::numeric_limits<double>::infinity();
        for (std::size_t k = 0; k < choices.size(); ++k) {
            const double median = results[k]["median"][level];
            rows.back().push_back(number(median));
            if (choices[k] != covariance::tweedie) best = std::min(best, median);
        }
        const double factor = best / results.back()["median"][level].get<double>();
        wins.push_back(factor);
        rows.back().push_back(number(factor));
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << "\nDivergence of q(x_t | y) to p(x_t | y), median of " << s.seeds
              << " seeds; last column: the best other median over Tweedie's\n";
    support::print_table(std::cout, head, rows);
    io::save_json(out / "report.json", {{"program", "covariances"},
                                        {"environment", support::environment()},
                                        {"threads", b.threads()},
                                        {"seeds", s.seeds},
                                        {"components", s.components},
                                        {"thickness", s.thickness},
                                        {"sigma_y", s.sigma_y},
                                        {"points", s.points},
                                        {"regularization", s.sinkhorn.regularization},
                                        {"regularization_scaled", s.scaled},
                                        {"annealed", s.annealed},
                                        {"annealing", s.sinkhorn.annealing},
                                        {"iterations", s.sinkhorn.iterations},
                                        {"tolerance", s.sinkhorn.tolerance},
                                        {"largest_marginal_error", marginal_errors},
                                        {"sigmas", s.sigmas},
                                        {"results", results},
                                        {"tweedie_wins_by", wins},
                                        {"seconds", seconds}});
    std::cout << '\n' << support::number(seconds, 1) << " s. report.json is in " << fs::absolute(out).string() << '\n';
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    fs::path out = "out/covariances", config;
    int threads = 0;
    index_t seeds = 0, points = 0;
    int iterations = 0;
    std::vector<double> sigmas;
    bool smoke = false, resume = false;
    CLI::App app("Compares covariances for the likelihood of an observation given a noisy point");
    app.add_option("--config", config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", out, "folder for report.json")->capture_default_str();
    app.add_option("--seeds", seeds, "instead of the configuration's");
    app.add_option("--points", points, "x_t of each posterior, instead of the configuration's")
        ->check(CLI::Range(2, 1 << 20));
    app.add_option("--sigmas", sigmas, "noise levels, instead of the configuration's")->check(CLI::PositiveNumber);
    app.add_option("--iterations", iterations, "of Sinkhorn, instead of the configuration's");
    app.add_option("--threads", threads, "0: one per core")->capture_default_str();
    app.add_flag("--resume", resume, "go on from the state in --out, where there is one");
    app.add_flag("--smoke", smoke, "a small run that takes seconds");
    CLI11_PARSE(app, argc, argv);
    try {
        settings s = read_settings(config);
        if (seeds > 0) s.seeds = seeds;
        if (points > 0) s.points = points;
        if (iterations > 0) s.sinkhorn.iterations = iterations;
        if (!sigmas.empty()) s.sigmas = sigmas;
        if (smoke) {
            s.seeds = 2;
            s.points = 64;
            s.components = 32;
            s.sigmas = {0.1, 1};
        }
        return run(s, out, threads, resume);
    } catch (const std::exception& e) {
        std::cerr << "covariances: " << e.what() << '\n';
        return 1;
    }
}
