// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include <diem/backend/concept.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// What a posterior costs, in passes through its model.
/// \snippet tests/examples/testing.cpp testing/counting.hpp

namespace diem::testing {

/// Calls of a score model; each is a pass over a batch of any number of items.
struct pass_counts {
    index_t denoised = 0, linearized = 0, vjps = 0, jvps = 0;

    /// Forward passes.
    [[nodiscard]] index_t forward() const { return denoised + linearized; }
    bool operator==(const pass_counts&) const = default;
};

namespace detail {

/// The operator tag of a Jacobian that has one.
template <class J>
struct tag_of {};
template <class J>
    requires requires { typename J::operator_tag; }
struct tag_of<J> {
    using operator_tag = typename J::operator_tag;
};

template <class J>
class counted_jacobian : public tag_of<J> {
public:
    counted_jacobian(J jacobian, pass_counts& counts) : jacobian_(std::move(jacobian)), counts_(&counts) {}

    [[nodiscard]] index_t rows() const { return jacobian_.rows(); }
    [[nodiscard]] index_t cols() const { return jacobian_.cols(); }
    [[nodiscard]] index_t items() const { return jacobian_.items(); }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return detail::counted_jacobian<decltype(jacobian_.items(first, count))>(jacobian_.items(first, count),
                                                                                 *counts_);
    }
    template <Backend B>
        requires linop::LinearOperator<J, B>
    void apply(B& b, const_view_t<B> v, view_t<B> w) const {
        ++counts_->jvps;
        jacobian_.apply(b, v, w);
    }
    template <Backend B>
        requires diffusion::AdjointProduct<J, B>
    void apply_adjoint(B& b, const_view_t<B> v, view_t<B> w) const {
        ++counts_->vjps;
        jacobian_.apply_adjoint(b, v, w);
    }

private:
    J jacobian_;
    pass_counts* counts_;
};

template <class L>
class counted_linearization {
    using jacobian_type = counted_jacobian<std::remove_cvref_t<decltype(std::declval<const L&>().jacobian())>>;

public:
    counted_linearization(L linear, pass_counts& counts) : linear_(std::move(linear)), counts_(&counts) {}
    [[nodiscard]] auto mean() const { return linear_.mean(); }
    [[nodiscard]] jacobian_type jacobian() const { return {linear_.jacobian(), *counts_}; }

private:
    L linear_;
    pass_counts* counts_;
};

}  // namespace detail

/// A `ScoreModel` that does what another one does, and counts the passes that are asked of it: what a posterior costs. The
/// model must outlive it. What is known of the model beside being a `ScoreModel` and having JVPs (`analytic_tag`, say) does
/// not pass through, so that each call stays one.
template <class Model>
class counting_model {
public:
    using score_model_tag = diffusion::score_model_tag;
    explicit counting_model(Model& model) : model_(model) {}

    [[nodiscard]] index_t features() const { return model_.features(); }
    template <Backend B>
        requires diffusion::Denoiser<Model, B>
    void denoise(B& b, const_view_t<B> x_t, std::type_identity_t<diffusion::noise_level<B>> sigma, view_t<B> x_hat) {
        ++counts.denoised;
        model_.denoise(b, x_t, sigma, x_hat);
    }
    template <Backend B>
        requires diffusion::ScoreModel<Model, B>
    [[nodiscard]] auto linearize(B& b, const_view_t<B> x_t, std::type_identity_t<diffusion::noise_level<B>> sigma) {
        ++counts.linearized;
        return detail::counted_linearization<decltype(model_.linearize(b, x_t, sigma))>(model_.linearize(b, x_t, sigma),
                                                                                        counts);
    }

    pass_counts counts{};

private:
    Model& model_;
};

}  // namespace diem::testing
