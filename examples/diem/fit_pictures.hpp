// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include <diem/io/png.hpp>

#include "diem/stages.hpp"

namespace program {

/// Pictures of a run in its folder, for its page; none where x is no image, or there is no folder.
template <Backend B>
class fit_pictures {
public:
    /// `most`: images in a row.
    fit_pictures(B& b, std::filesystem::path folder, const measured<B>& m, index_t most)
        : b_(b), folder_(has_picture(m.image) ? std::move(folder) : std::filesystem::path()), m_(m), most_(most) {}

    void observations() const {
        if (folder_.empty()) return;
        save_observed(b_, folder_ / "observed.png", m_, shown(m_.items()));
        if (has_seen(m_)) save_seen(b_, folder_ / "seen.png", m_);
    }
    /// Samples of it.
    void samples(const std::string& name, const learned_prior<B>& prior) const {
        if (folder_.empty()) return;
        diem::batch<B> x(b_, m_.features(), shown(most_));
        network_stage<B>::draw(b_, prior, prior.drawing.sampling, {.seed = 17}, x.view());
        save(name, x.cview());
    }
    /// What a lap gave.
    void lap(index_t number, diem::const_view_t<B> x, const learned_prior<B>& next) const {
        if (folder_.empty()) return;
        samples("lap_" + std::to_string(number) + ".png", next);
        save("lap_" + std::to_string(number) + "_posterior.png", x.item_range(0, shown(x.items())));
    }

private:
    [[nodiscard]] index_t shown(index_t items) const { return fitting(*m_.image, std::min(most_, items)); }
    void save(const std::string& name, diem::const_view_t<B> x) const {
        diem::io::save_png(folder_ / name, picture_of(b_, x, *m_.image));
    }

    B& b_;
    std::filesystem::path folder_;
    const measured<B>& m_;
    index_t most_;
};

}  // namespace program
