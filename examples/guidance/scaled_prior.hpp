// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/concept.hpp>

namespace guidance {

using namespace diem;

/// The prior of x / scale of a prior of x, a `ScoreModel`: d(x_t, sigma) / scale at scale x_t and scale sigma, whose Jacobian is
/// the prior's. DPS and PiGDM depend on units, so that they are compared in those that they were published for.
template <Backend B, class Prior>
class scaled_prior {
    using inner_linearization =
        decltype(std::declval<Prior&>().linearize(std::declval<B&>(), const_view_t<B>(), diffusion::noise_level<B>(1)));

public:
    using score_model_tag = diffusion::score_model_tag;

    class linearization {
        /// Without what else the prior's Jacobian has, which is in other units.
        template <class J>
        struct product {
            J j;
            void apply_adjoint(B& b, const_view_t<B> v, view_t<B> w) const { j.apply_adjoint(b, v, w); }
        };

    public:
        linearization(inner_linearization inner, batch<B> mean) : inner_(std::move(inner)), mean_(std::move(mean)) {}
        [[nodiscard]] const_view_t<B> mean() const { return mean_.view(); }
        [[nodiscard]] auto jacobian() const {
            return product<std::remove_cvref_t<decltype(inner_.jacobian())>>{inner_.jacobian()};
        }

    private:
        inner_linearization inner_;
        batch<B> mean_;
    };

    /// The prior must outlive it.
    scaled_prior(Prior& prior, double scale) : prior_(prior), scale_(scale) {}
    [[nodiscard]] index_t features() const { return prior_.features(); }
    /// One sigma for all items.
    void denoise(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma, view_t<B> x_hat) {
        const auto x = times(b, x_t, scale_);
        prior_.denoise(b, x.view(), scale_ * level(sigma), x_hat);
        b.axpby(0.0, const_view_t<B>(x_hat), 1 / scale_, x_hat);
    }
    [[nodiscard]] linearization linearize(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma) {
        const auto x = times(b, x_t, scale_);
        auto inner = prior_.linearize(b, x.view(), scale_ * level(sigma));
        auto mean = times(b, inner.mean(), 1 / scale_);
        return {std::move(inner), std::move(mean)};
    }

private:
    [[nodiscard]] static double level(const diffusion::noise_level<B>& sigma) {
        check_value("scaled_prior", sigma.shared(), "one sigma for all items is needed");
        return sigma.common();
    }
    [[nodiscard]] static batch<B> times(B& b, const_view_t<B> x, double by) {
        batch<B> out(b, x.features(), x.items());
        b.axpby(by, x, 0.0, out.view());
        return out;
    }
    Prior& prior_;
    double scale_;
};

}  // namespace guidance
