// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/reference.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>

#include "support/catch.hpp"

using namespace diem;
using B = reference_backend<float>;

namespace {

// What a concept names, and then the same with one thing missing or wrong.
struct good {
    using operator_tag = linop::linear_tag;
    [[nodiscard]] index_t rows() const { return 1; }
    [[nodiscard]] index_t cols() const { return 1; }
    [[nodiscard]] index_t items() const { return linop::any_items; }
    [[nodiscard]] good items(index_t, index_t) const { return *this; }
    void apply(B&, const_view_t<B>, view_t<B>) const {}
    void apply_adjoint(B&, const_view_t<B>, view_t<B>) const {}
};
struct untagged : good {
    using operator_tag = void;
};
struct without_rows : good {
    void rows() const {}
};
struct without_cols : good {
    void cols() const {}
};
struct without_adjoint : good {
    void apply_adjoint() const {}
};
struct writes_its_input : good {
    void apply(B&, view_t<B>, view_t<B>) const {}
};
struct not_const : good {
    void apply(B&, const_view_t<B>, view_t<B>) {}
};
struct slices_of_nothing : good {
    [[nodiscard]] index_t items() const { return 1; }
    [[nodiscard]] int items(index_t, index_t) const { return 0; }
};

struct good_noise : good {
    using operator_tag = linop::symmetric_tag;
    [[nodiscard]] index_t items() const { return linop::any_items; }
    [[nodiscard]] good_noise items(index_t, index_t) const { return *this; }
    void apply_inverse(B&, const_view_t<B>, view_t<B>) const {}
    void log_determinant(B&, vector_t<B, double>) const {}
    void sample(B&, const random_key&, view_t<B>) const {}
};
struct not_symmetric : good_noise {
    using operator_tag = linop::linear_tag;
};
struct without_inverse : good_noise {
    void apply_inverse() const {}
};
struct without_sample : good_noise {
    void sample() const {}
};
struct without_determinant : good_noise {
    void log_determinant() const {}
};

struct good_elementwise : good {
    using elementwise_tag = linop::elementwise_tag;
};
struct other_tag : good {
    using elementwise_tag = linop::linear_tag;
};

using linop::ElementwiseOperator, linop::LinearOperator, linop::NoiseCovariance, linop::SymmetricOperator;
static_assert(LinearOperator<good, B> && !SymmetricOperator<good, B> && !NoiseCovariance<good, B>);
static_assert(!LinearOperator<good, int>);
static_assert(!LinearOperator<untagged, B>);
static_assert(!LinearOperator<without_rows, B>);
static_assert(!LinearOperator<without_cols, B>);
static_assert(!LinearOperator<without_adjoint, B>);
static_assert(!LinearOperator<writes_its_input, B>);
static_assert(!LinearOperator<not_const, B>);
static_assert(!LinearOperator<slices_of_nothing, B>);

static_assert(linop::Covariance<good_noise, B> && NoiseCovariance<good_noise, B>);
static_assert(!NoiseCovariance<not_symmetric, B>);
static_assert(!NoiseCovariance<without_inverse, B>);
static_assert(!NoiseCovariance<without_sample, B>);
static_assert(NoiseCovariance<without_determinant, B> && !linop::Covariance<without_determinant, B>);
static_assert(NoiseCovariance<linop::isotropic_covariance, B> && NoiseCovariance<linop::diagonal_covariance<B>, B>);
static_assert(SymmetricOperator<linop::identity, B> && !NoiseCovariance<linop::identity, B>);

static_assert(ElementwiseOperator<good_elementwise> && ElementwiseOperator<linop::mask<B>>);
static_assert(!ElementwiseOperator<good> && !ElementwiseOperator<other_tag> && !ElementwiseOperator<linop::dense<B>>);

// Functions of a lambda: their signatures are looked at before they are called.
constexpr auto fine = [](B&, const_view_t<B>, view_t<B>) {};
constexpr auto numbered = [](B&, const_view_t<B>, view_t<B>, index_t) {};
constexpr auto of_two = [](const_view_t<B>, view_t<B>) {};
constexpr auto writes_input = [](B&, view_t<B>, view_t<B>) {};
constexpr auto of_nothing = [] {};
template <class Apply, class Adjoint>
constexpr bool makes_operator = LinearOperator<linop::lambda<Apply, Adjoint>, B>;
static_assert(makes_operator<decltype(fine), decltype(fine)> && makes_operator<decltype(numbered), decltype(fine)>);
static_assert(!makes_operator<decltype(fine), decltype(of_two)>);
static_assert(!makes_operator<decltype(fine), decltype(writes_input)>);
static_assert(!makes_operator<decltype(fine), decltype(of_nothing)>);
static_assert(!makes_operator<decltype(of_two), decltype(fine)>);

template <class N>
concept Simulates = requires(B& b, const good& a, const N& noise, const_view_t<B> x, view_t<B> y) {
    posterior::simulate(b, a, noise, x, random_key{}, y);
};
static_assert(Simulates<good_noise> && !Simulates<good> && !Simulates<linop::scaling>);

}  // namespace

TEST_CASE("concepts of operators tell near misses", "[linop]") { CHECK(linop::LinearOperator<good, B>); }
