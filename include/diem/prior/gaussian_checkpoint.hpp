// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/prior/checkpoint.hpp>

/// Gaussian priors in files, alone or as a part of others: tensors PREFIX{mu,d,u}.
namespace diem::prior {

/// Adds N(mu, diag(d) + u u') to a file.
template <Backend B>
void put_gaussian(B& b, checkpoint_writer<B>& out, const diffusion::gaussian<B>& g,
                  const std::string& prefix = "estimate/") {
    out.batch_as(b, prefix + "mu", as_batch(g.mu()));
    out.batch_as(b, prefix + "d", as_batch(g.d()));
    out.batch_as(b, prefix + "u", g.u());
}
/// Reads it. Throws io_error: other sizes, numbers that are not finite, d < 0.
template <Backend B>
[[nodiscard]] diffusion::gaussian<B> get_gaussian(B& b, checkpoint_reader<B>& in, index_t features, index_t rank,
                                                  const std::string& prefix = "estimate/") {
    const auto read = [&](const std::string& name, index_t items) {
        return to_backend(b, in.batch_as(name, features, items), features, items);
    };
    auto mu = read(prefix + "mu", 1), d = read(prefix + "d", 1), u = read(prefix + "u", rank);
    try {
        return {b, std::move(mu), std::move(d), std::move(u)};
    } catch (const value_error& e) {
        in.fail(prefix + ": " + e.what());
    }
}

/// A Gaussian prior in a file of its own, atomically. `config` and `notes` (an object) are kept with it: settings, say, and
/// the evidence along the laps. Throws io_error.
template <Backend B>
void save_gaussian(const std::filesystem::path& path, B& b, const diffusion::gaussian<B>& g,
                   const io::json& config = io::json::object(), const io::json& notes = io::json::object()) {
    checkpoint_writer<B> out(
        config, {{"kind", "gaussian_prior"}, {"features", g.features()}, {"rank", g.rank()}, {"notes", notes}});
    put_gaussian(b, out, g);
    out.write(path);
}

/// What `load_gaussian` reads.
template <Backend B>
struct stored_gaussian {
    diffusion::gaussian<B> prior;
    io::json config, notes;
};
/// Throws io_error where the file holds no Gaussian prior of this element type.
template <Backend B>
[[nodiscard]] stored_gaussian<B> load_gaussian(const std::filesystem::path& path, B& b) {
    checkpoint_reader<B> in(path);
    if (in.template state<std::string>("kind") != "gaussian_prior") in.fail("holds no Gaussian prior");
    const auto features = in.template state<index_t>("features"), rank = in.template state<index_t>("rank");
    if (features <= 0 || rank < 0) in.fail("state \"features\" or \"rank\" is out of range");
    auto prior = get_gaussian(b, in, features, rank);
    in.finish();
    return {std::move(prior), in.config(), in.template state<io::json>("notes")};
}

}  // namespace diem::prior
