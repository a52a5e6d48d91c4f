// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <variant>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>
#include <diem/linop/radon.hpp>
#include <diem/linop/subsample.hpp>

namespace support {

/// An operator chosen when the program runs, also one made of several: a `diem::linop::LinearOperator`, so that what is
/// built on operators is compiled once for all. Each call looks up the choice once.
template <diem::Backend B>
class any_operator {
    using sparse = diem::linop::sparse<B>;
    /// Applied one after another, from the first on; or all to the same x, their results below one another.
    struct several {
        std::shared_ptr<const std::vector<any_operator>> parts;
        bool stacked;
        diem::index_t items_;

        [[nodiscard]] diem::index_t rows() const {
            if (!stacked) return parts->back().rows();
            diem::index_t sum = 0;
            for (const auto& a : *parts) sum += a.rows();
            return sum;
        }
        [[nodiscard]] diem::index_t cols() const { return parts->front().cols(); }
        [[nodiscard]] diem::index_t items() const { return items_; }
        [[nodiscard]] several items(diem::index_t first, diem::index_t count) const {
            std::vector<any_operator> slices;
            for (const auto& a : *parts) slices.push_back(a.items(first, count));
            return make(std::move(slices), stacked);
        }
        void apply(B& b, diem::const_view_t<B> x, diem::view_t<B> y) const {
            diem::linop::check_apply("operator", *this, x, y);
            if (!stacked) return chain(b, x, y, 0, false);
            diem::index_t first = 0;
            for (const auto& a : *parts) {
                a.apply(b, x, diem::linop::rows_of(y, first, a.rows()));
                first += a.rows();
            }
        }
        void apply_adjoint(B& b, diem::const_view_t<B> y, diem::view_t<B> x) const {
            diem::linop::check_adjoint("operator (adjoint)", *this, y, x);
            if (!stacked) return chain(b, y, x, 0, true);
            diem::batch<B> part(b, x.features(), x.items());
            b.fill(x, diem::scalar_t<B>(0));
            diem::index_t first = 0;
            for (const auto& a : *parts) {
                a.apply_adjoint(b, diem::linop::rows_of(y, first, a.rows()), part.view());
                b.axpby(1.0, part.cview(), 1.0, x);
                first += a.rows();
            }
        }
        /// From part `k` of the order of application on.
        void chain(B& b, diem::const_view_t<B> in, diem::view_t<B> out, std::size_t k, bool adjoint) const {
            const auto& a = (*parts)[adjoint ? parts->size() - 1 - k : k];
            const auto call = [&](diem::view_t<B> to) { adjoint ? a.apply_adjoint(b, in, to) : a.apply(b, in, to); };
            if (k + 1 == parts->size()) return call(out);
            diem::batch<B> middle(b, adjoint ? a.cols() : a.rows(), in.items());
            call(middle.view());
            chain(b, middle.cview(), out, k + 1, adjoint);
        }
    };
    /// One part for the first items, another for the next ones: measurements of several sizes. Where a part has fewer rows than
    /// the most, the rest of its items is zero.
    struct by_items {
        std::shared_ptr<const std::vector<any_operator>> parts;
        std::vector<diem::index_t> counts;  ///< items of each part
        diem::index_t rows_ = 0;

        [[nodiscard]] diem::index_t rows() const { return rows_; }
        [[nodiscard]] diem::index_t cols() const { return parts->front().cols(); }
        [[nodiscard]] diem::index_t items() const {
            return std::accumulate(counts.begin(), counts.end(), diem::index_t{0});
        }
        [[nodiscard]] by_items items(diem::index_t first, diem::index_t count) const {
            diem::linop::check_slice("operator", items(), first, count);
            std::vector<any_operator> chosen;
            by_items part{nullptr, {}, rows_};
            for_parts([&](const any_operator& a, diem::index_t begin, diem::index_t n) {
                const diem::index_t from = std::max(first, begin), to = std::min(first + count, begin + n);
                if (from >= to) return;
                chosen.push_back(a.items(from - begin, to - from));
                part.counts.push_back(to - from);
            });
            if (chosen.empty()) {  // of no items: the number of columns is still known
                chosen.push_back(parts->front().items(0, 0));
                part.counts.push_back(0);
            }
            part.parts = std::make_shared<const std::vector<any_operator>>(std::move(chosen));
            return part;
        }
        void apply(B& b, diem::const_view_t<B> x, diem::view_t<B> y) const {
            diem::linop::check_apply("operator", *this, x, y);
            for_parts([&](const any_operator& a, diem::index_t begin, diem::index_t n) {
                const diem::view_t<B> out = y.item_range(begin, n);
                a.apply(b, x.item_range(begin, n), diem::linop::rows_of(out, 0, a.rows()));
                if (a.rows() < rows_)
                    b.fill(diem::linop::rows_of(out, a.rows(), rows_ - a.rows()), diem::scalar_t<B>(0));
            });
        }
        void apply_adjoint(B& b, diem::const_view_t<B> y, diem::view_t<B> x) const {
            diem::linop::check_adjoint("operator (adjoint)", *this, y, x);
            for_parts([&](const any_operator& a, diem::index_t begin, diem::index_t n) {
                a.apply_adjoint(b, diem::linop::rows_of(y.item_range(begin, n), 0, a.rows()), x.item_range(begin, n));
            });
        }
        template <class F>
        void for_parts(const F& f) const {
            diem::index_t begin = 0;
            for (std::size_t k = 0; k < parts->size(); ++k) {
                f((*parts)[k], begin, counts[k]);
                begin += counts[k];
            }
        }
    };

public:
    /// A product of the caller's own: (b, in, out, number of the batch's first item), see `linop::lambda`.
    using function = std::function<void(B&, diem::const_view_t<B>, diem::view_t<B>, diem::index_t)>;
    using functions = diem::linop::lambda<function, function>;

private:
    using choice = std::variant<diem::linop::mask<B>, diem::linop::dense<B>, diem::linop::subsample,
                                diem::linop::convolution<B>, sparse, diem::linop::composition<sparse, sparse>,
                                diem::linop::stacked<sparse, sparse>, diem::linop::mri<B>, diem::linop::sense<B>,
                                diem::linop::radon_per_item<B>, several, by_items, functions>;

public:
    using operator_tag = diem::linop::linear_tag;
    template <class A>
        requires std::is_constructible_v<choice, A>
    any_operator(A a) : a_(std::move(a)) {}  // NOLINT(google-explicit-constructor)

    /// The first one applied first. Throws value_error (none), shape_error.
    [[nodiscard]] static any_operator in_turn(std::vector<any_operator> parts) {
        for (std::size_t k = 1; k < parts.size(); ++k)
            diem::check_size("operator", "values that a part takes", parts[k].cols(), parts[k - 1].rows());
        return make(std::move(parts), false);
    }
    /// All of the same x.
    [[nodiscard]] static any_operator stack(std::vector<any_operator> parts) {
        for (const auto& a : parts)
            diem::check_size("operator", "values that a part takes", a.cols(), parts.front().cols());
        return make(std::move(parts), true);
    }
    /// Part k for `counts[k]` items after those of the parts before it; values beyond a part's rows are zero. Throws value_error
    /// (none), shape_error (other columns, other items).
    [[nodiscard]] static any_operator for_items(std::vector<any_operator> parts, std::vector<diem::index_t> counts) {
        diem::check_value("operator", !parts.empty(), "no parts");
        diem::check_size("operator", "counts", static_cast<diem::index_t>(counts.size()),
                         static_cast<diem::index_t>(parts.size()));
        diem::index_t rows = 0;
        for (std::size_t k = 0; k < parts.size(); ++k) {
            diem::check_size("operator", "values that a part takes", parts[k].cols(), parts.front().cols());
            if (parts[k].items() != diem::linop::any_items)
                diem::check_size("operator", "items of a part", parts[k].items(), counts[k]);
            rows = std::max(rows, parts[k].rows());
        }
        return by_items{std::make_shared<const std::vector<any_operator>>(std::move(parts)), std::move(counts), rows};
    }

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
    static several make(std::vector<any_operator> parts, bool stacked) {
        diem::check_value("operator", !parts.empty(), "no parts");
        diem::index_t items = diem::linop::any_items;
        for (const auto& a : parts) items = diem::linop::joint_items("operator", items, a.items());
        return {std::make_shared<const std::vector<any_operator>>(std::move(parts)), stacked, items};
    }
    choice a_;
};

}  // namespace support
