// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <variant>

#include <diem/backend/concept.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/subsample.hpp>

namespace support {

/// A mask, dense matrices or averaging over blocks, chosen when the program runs: a `diem::linop::LinearOperator`, so that
/// what is built on operators is compiled once for all. Each call looks up the choice once.
template <diem::Backend B>
class any_operator {
    using choice = std::variant<diem::linop::mask<B>, diem::linop::dense<B>, diem::linop::subsample>;

public:
    using operator_tag = diem::linop::linear_tag;
    template <class A>
        requires std::is_constructible_v<choice, A>
    any_operator(A a) : a_(std::move(a)) {}  // NOLINT(google-explicit-constructor)

    [[nodiscard]] diem::index_t rows() const {
        return std::visit([](const auto& a) { return a.rows(); }, a_);
    }
    [[nodiscard]] diem::index_t cols() const {
        return std::visit([](const auto& a) { return a.cols(); }, a_);
    }
    [[nodiscard]] diem::index_t items() const {
        return std::visit([](const auto& a) { return a.items(); }, a_);
    }
    [[nodiscard]] any_operator items(diem::index_t first, diem::index_t count) const {
        return std::visit([&](const auto& a) { return any_operator(a.items(first, count)); }, a_);
    }
    void apply(B& b, diem::const_view_t<B> x, diem::view_t<B> y) const {
        std::visit([&](const auto& a) { a.apply(b, x, y); }, a_);
    }
    void apply_adjoint(B& b, diem::const_view_t<B> y, diem::view_t<B> x) const {
        std::visit([&](const auto& a) { a.apply_adjoint(b, y, x); }, a_);
    }
    /// The mask; null where it is none. Masks have closed forms that other operators have not.
    [[nodiscard]] const diem::linop::mask<B>* as_mask() const { return std::get_if<diem::linop::mask<B>>(&a_); }

private:
    choice a_;
};

}  // namespace support
