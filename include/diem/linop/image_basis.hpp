// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <variant>

#include <diem/linop/cosine.hpp>
#include <diem/linop/hartley.hpp>

/// \file
/// An orthonormal basis of images, chosen at run time.
/// \snippet tests/examples/linop.cpp linop/image_basis.hpp

namespace diem::linop {

/// z = H x, the coefficients of images (height, width, channels), and x = H'z by the adjoint; H is `hartley` or `cosine`.
class image_basis {
    using transform_type = std::variant<hartley, cosine>;
    template <class F>
    auto of(const F& f) const {
        return std::visit(f, transform_);
    }

public:
    using operator_tag = linear_tag;
    enum class kind { hartley, cosine };
    image_basis(hartley h) : transform_(h) {}  // NOLINT(google-explicit-constructor)
    image_basis(cosine c) : transform_(c) {}   // NOLINT(google-explicit-constructor)
    image_basis(kind k, index_t height, index_t width, index_t channels)
        : transform_(k == kind::hartley ? transform_type(hartley(height, width, channels))
                                        : transform_type(cosine(height, width, channels))) {}

    [[nodiscard]] kind of_kind() const { return transform_.index() == 0 ? kind::hartley : kind::cosine; }
    [[nodiscard]] index_t height() const {
        return of([](const auto& t) { return t.height(); });
    }
    [[nodiscard]] index_t width() const {
        return of([](const auto& t) { return t.width(); });
    }
    [[nodiscard]] index_t channels() const {
        return of([](const auto& t) { return t.channels(); });
    }
    [[nodiscard]] index_t rows() const {
        return of([](const auto& t) { return t.rows(); });
    }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] image_basis items(index_t, index_t) const { return *this; }
    /// x and y may be the same, in both directions.
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        of([&](const auto& t) { t.apply(b, x, y); });
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        of([&](const auto& t) { t.apply_adjoint(b, y, x); });
    }

private:
    transform_type transform_;
};

}  // namespace diem::linop
