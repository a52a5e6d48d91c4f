// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include <diem/backend/reference.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/diffusion/score_model.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/train/concept.hpp>

#include "support/catch.hpp"

using namespace diem;
using diffusion::Denoiser, diffusion::HasItemSigma, diffusion::HasJvp, diffusion::ScoreModel;
using B = reference_backend<float>;
using level = diffusion::noise_level<B>;

namespace {

// What a concept names, and then the same with one thing missing or wrong.
struct good_denoiser {
    using score_model_tag = diffusion::score_model_tag;
    [[nodiscard]] index_t features() const { return 1; }
    void denoise(B&, const_view_t<B>, level, view_t<B>) {}
};
struct untagged : good_denoiser {
    using score_model_tag = void;
};
struct without_features : good_denoiser {
    void features() const {}
};
struct without_sigma : good_denoiser {
    void denoise(B&, const_view_t<B>, view_t<B>) {}
};
struct host_sigma : good_denoiser {
    void denoise(B&, const_view_t<B>, double, view_t<B>) {}
};
struct changes_input : good_denoiser {
    void denoise(B&, view_t<B>, level, view_t<B>) {}
};
static_assert(Denoiser<good_denoiser, B> && !ScoreModel<good_denoiser, B>);
static_assert(!Denoiser<untagged, B> && !Denoiser<without_features, B> && !Denoiser<without_sigma, B>);
static_assert(!Denoiser<host_sigma, B> && !Denoiser<changes_input, B> && !Denoiser<good_denoiser, int>);

template <class Jacobian, class Mean = const_view_t<B>>
struct model_of : good_denoiser {
    struct linearization {
        [[nodiscard]] Mean mean() const { return {}; }
        [[nodiscard]] Jacobian jacobian() const { return {}; }
    };
    linearization linearize(B&, const_view_t<B>, level) { return {}; }
};
struct vjp_only {
    void apply_adjoint(B&, const_view_t<B>, view_t<B>) const {}
};
struct jvp_only {
    void apply(B&, const_view_t<B>, view_t<B>) const {}
};
struct vjp_of_views {
    void apply_adjoint(B&, view_t<B>, view_t<B>) const {}
};
struct both : vjp_only, jvp_only {
    using operator_tag = linop::linear_tag;
    [[nodiscard]] index_t rows() const { return 1; }
    [[nodiscard]] index_t cols() const { return 1; }
    [[nodiscard]] index_t items() const { return 1; }
    [[nodiscard]] both items(index_t, index_t) const { return *this; }
};
struct unsliced : both {
    void items(index_t) const {}
};
static_assert(ScoreModel<model_of<vjp_only>, B> && !HasJvp<model_of<vjp_only>, B>);
static_assert(ScoreModel<model_of<both>, B> && HasJvp<model_of<both>, B>);
static_assert(ScoreModel<model_of<unsliced>, B> && !HasJvp<model_of<unsliced>, B>);
static_assert(!ScoreModel<model_of<jvp_only>, B> && !ScoreModel<model_of<vjp_of_views>, B>);
static_assert(!ScoreModel<model_of<vjp_only, int>, B>);

// The models that there are.
using mlp_model = model::preconditioned<B, nn::mlp<B>>;
static_assert(HasJvp<diffusion::gaussian<B>, B> && HasJvp<diffusion::mixture<B>, B> && HasJvp<mlp_model, B>);
static_assert(HasItemSigma<diffusion::gaussian<B>, B> && HasItemSigma<diffusion::mixture<B>, B> &&
              HasItemSigma<mlp_model, B>);
static_assert(nn::Network<nn::mlp<B>, B> && !nn::Network<mlp_model, B> && !nn::Network<nn::mlp<B>, int>);
static_assert(train::TrainableModel<mlp_model, B> && !train::TrainableModel<diffusion::gaussian<B>, B>);

struct without_vjp_params : nn::mlp<B> {
    void vjp_params(B&) {}
};
struct without_jvp : nn::mlp<B> {
    void jvp(B&) {}
};
struct without_activations : nn::mlp<B> {
    using activations = void;
};
struct without_table : nn::mlp<B> {
    void parameters() const {}
};
static_assert(!nn::Network<without_vjp_params, B> && !nn::Network<without_jvp, B>);
static_assert(!nn::Network<without_activations, B> && !nn::Network<without_table, B>);

struct frozen : mlp_model {
    void mutable_parameters() const {}
};
struct one_sigma : mlp_model {
    using common_sigma_tag = diffusion::common_sigma_tag;
};
struct never_training : mlp_model {
    linearization linearize(B&, const_view_t<B>, level);
    linearization linearize(B&, const_view_t<B>, level, const model::training&) = delete;
};
static_assert(!train::TrainableModel<frozen, B> && !train::TrainableModel<one_sigma, B>);
static_assert(!train::TrainableModel<never_training, B>);

// Models of two functions.
constexpr auto denoise = [](B&, const_view_t<B>, double, view_t<B>) {};
constexpr auto vjp = [](B&, const_view_t<B>, double, const_view_t<B>, view_t<B>) {};
constexpr auto linearize = [](B&, const_view_t<B>, double, view_t<B>) { return [](B&, const_view_t<B>, view_t<B>) {}; };
constexpr auto returns_wrong = [](B&, const_view_t<B>, double, view_t<B>) { return [](B&, view_t<B>) {}; };
constexpr auto vjp_without_x = [](B&, double, const_view_t<B>, view_t<B>) {};
template <class Denoise, class Derivative>
using made = diffusion::function_model<Denoise, Derivative>;
static_assert(ScoreModel<made<decltype(denoise), decltype(vjp)>, B>);
static_assert(ScoreModel<made<decltype(denoise), decltype(linearize)>, B>);
static_assert(!HasJvp<made<decltype(denoise), decltype(vjp)>, B>);
static_assert(!HasItemSigma<made<decltype(denoise), decltype(vjp)>, B>);
static_assert(!ScoreModel<made<decltype(denoise), decltype(returns_wrong)>, B>);
static_assert(!ScoreModel<made<decltype(denoise), decltype(denoise)>, B>);
static_assert(!ScoreModel<made<decltype(denoise), decltype(vjp_without_x)>, B>);
static_assert(!Denoiser<made<decltype(vjp), decltype(vjp)>, B>);

// The call itself is refused where the arguments are spelt out, whichever of the two functions does.
constexpr auto generic = [](auto&, auto, double, auto) {};
constexpr auto vjp_without_sigma = [](B&, const_view_t<B>, const_view_t<B>, view_t<B>) {};
constexpr auto vjp_of_another = [](reference_backend<double>&, const_view_t<reference_backend<double>>, double,
                                   const_view_t<reference_backend<double>>, view_t<reference_backend<double>>) {};
constexpr auto denoise_without_sigma = [](B&, const_view_t<B>, view_t<B>) {};
constexpr auto denoise_in_place = [](B&, view_t<B>, double) {};
struct counts {  // a function may change itself, and may be a pointer
    int calls = 0;
    void operator()(B&, const_view_t<B>, double, view_t<B>) { ++calls; }
};
template <class Denoise, class Derivative>
concept Callable = requires(Denoise d, Derivative v) { diffusion::score_model(index_t{1}, d, v); };
template <const auto& Denoise, const auto& Derivative>
constexpr bool accepted = Callable<std::remove_cvref_t<decltype(Denoise)>, std::remove_cvref_t<decltype(Derivative)>>;
static_assert(accepted<denoise, vjp> && accepted<denoise, linearize> && accepted<generic, vjp> &&
              accepted<generic, generic>);
static_assert(Callable<counts, decltype(+vjp)> && !Callable<decltype(+denoise), counts>);
static_assert(!accepted<denoise, vjp_without_sigma> && !accepted<generic, vjp_without_sigma>);
static_assert(!accepted<denoise, vjp_without_x> && !accepted<denoise, returns_wrong> && !accepted<denoise, denoise>);
static_assert(!accepted<denoise, vjp_of_another> && !accepted<denoise_without_sigma, vjp>);
static_assert(!accepted<denoise_in_place, vjp> && !accepted<vjp, denoise> && !accepted<denoise, generic>);

}  // namespace

TEST_CASE("concepts of models tell near misses", "[diffusion]") { CHECK(Denoiser<good_denoiser, B>); }

TEST_CASE("a model of two functions checks what it is handed", "[diffusion]") {
    B b;
    auto m = diffusion::score_model(3, denoise, vjp);
    batch<B> x(b, 3, 2), y(b, 3, 2), wrong(b, 4, 2), sigma(b, 2, 1);
    CHECK_THROWS_AS(m.denoise(b, wrong.cview(), 1.0, y.view()), shape_error);
    CHECK_THROWS_AS(m.denoise(b, x.cview(), 1.0, wrong.view()), shape_error);
    CHECK_THROWS_AS(m.linearize(b, wrong.cview(), 1.0), shape_error);
    CHECK_THROWS_AS(m.linearize(b, x.cview(), 1.0).jacobian().apply_adjoint(b, wrong.cview(), y.view()), shape_error);
    CHECK_THROWS_AS(m.denoise(b, x.cview(), const_vector_t<B>(sigma.flat()), y.view()), value_error);
    CHECK_THROWS_AS(diffusion::score_model(-1, denoise, vjp), value_error);
}
