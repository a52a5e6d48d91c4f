// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/linop/data.hpp>

/// \file
/// Sparse matrices of a pattern that all items share.
/// \snippet tests/examples/linop.cpp linop/sparse.hpp

namespace diem::linop {

/// Entry (row, col) of a sparse matrix is the number `parameter` of its parameters. Entries of one place add up.
struct sparse_entry {
    index_t row, col, parameter;
};

namespace detail {

/// out_r = sum over the entries e of row r: p[parameter_e] in[place_e], for every inner element. Index: (item, outer,
/// row).
struct sparse_row {
    index_t rows, cols, outer, inner, p_stride, in_stride, out_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const int* start, const int* place, const int* parameter,
                                     const T* p, const T* in, T* out) const {
        const index_t row = index % rows, slab = index / rows, item = slab / outer, k = slab - item * outer;
        const T* from = in + item * in_stride + k * cols * inner;
        const T* weights = p + item * p_stride;
        T* to = out + item * out_stride + (k * rows + row) * inner;
        for (index_t c = 0; c < inner; ++c) {
            T sum = 0;
            for (int e = start[row]; e < start[row + 1]; ++e) sum += weights[parameter[e]] * from[place[e] * inner + c];
            to[c] = sum;
        }
    }
};

}  // namespace detail

/// A sparse matrix S on one axis of every item: x is (outer, cols, inner), y is (outer, rows, inner), and
///     y[k, r, c] = sum over s of S[r, s] x[k, s, c],  S[r, s] = p[parameter of (r, s)].
/// The numbers p are the same for all items, or other ones for each: a blur with a kernel of its own for every item is
/// one pattern and small parameters. A' is made of the same entries, ordered by columns, so that it is exact up to the
/// order of the sums. Memory: 16 bytes an entry. Copies and slices share it.
template <Backend B>
class sparse {
public:
    using operator_tag = linear_tag;

    /// What all items share: the places of the entries, in the backend's memory.
    class pattern {
    public:
        /// Throws value_error where an entry is outside, or where there are more than 2^31 - 1.
        pattern(B& b, index_t rows, index_t cols, const std::vector<sparse_entry>& entries) : rows_(rows), cols_(cols) {
            check_value("sparse", rows >= 0 && cols >= 0, "rows or cols is negative");
            constexpr index_t most = std::numeric_limits<int>::max();
            check_value("sparse", static_cast<index_t>(entries.size()) < most && rows < most && cols < most,
                        "more than 2^31 - 2 entries, rows or cols");
            for (const sparse_entry& e : entries) {
                check_value("sparse", e.row >= 0 && e.row < rows && e.col >= 0 && e.col < cols, "an entry is outside");
                check_value("sparse", e.parameter >= 0 && e.parameter < most, "a parameter's number is negative");
                parameters_ = std::max(parameters_, e.parameter + 1);
            }
            forward_ = table(b, entries, rows, [](const sparse_entry& e) { return std::pair(e.row, e.col); });
            backward_ = table(b, entries, cols, [](const sparse_entry& e) { return std::pair(e.col, e.row); });
        }

    private:
        friend class sparse;
        struct lists {
            batch<B, int> start, place, parameter;
            index_t per_row = 1;
        };
        /// The entries by rows (a counting sort, stable).
        template <class F>
        static lists table(B& b, const std::vector<sparse_entry>& entries, index_t rows, const F& place_of) {
            const auto n = static_cast<index_t>(entries.size());
            std::vector<int> start(static_cast<std::size_t>(rows) + 1, 0), place(entries.size()),
                parameter(entries.size());
            for (const auto& e : entries) ++start[static_cast<std::size_t>(place_of(e).first) + 1];
            for (std::size_t r = 1; r < start.size(); ++r) start[r] += start[r - 1];
            std::vector<int> next(start);
            for (const auto& e : entries) {
                const auto [row, col] = place_of(e);
                const auto k = static_cast<std::size_t>(next[static_cast<std::size_t>(row)]++);
                place[k] = static_cast<int>(col);
                parameter[k] = static_cast<int>(e.parameter);
            }
            return {to_backend(b, start, rows + 1, 1), to_backend(b, place, n, 1), to_backend(b, parameter, n, 1),
                    rows > 0 ? 1 + n / rows : 1};
        }
        index_t rows_, cols_, parameters_ = 0;
        lists forward_, backward_;
    };

    /// One set of parameters for all items.
    [[nodiscard]] static sparse shared(std::shared_ptr<const pattern> places, item_data<B> parameters,
                                       index_t outer = 1, index_t inner = 1) {
        check_size("sparse::shared", "items of the parameters", parameters.items(), 1);
        return sparse(std::move(places), std::move(parameters), outer, inner, true);
    }
    /// One set for each item.
    [[nodiscard]] static sparse per_item(std::shared_ptr<const pattern> places, item_data<B> parameters,
                                         index_t outer = 1, index_t inner = 1) {
        return sparse(std::move(places), std::move(parameters), outer, inner, false);
    }

    [[nodiscard]] index_t rows() const { return outer_ * pattern_->rows_ * inner_; }
    [[nodiscard]] index_t cols() const { return outer_ * pattern_->cols_ * inner_; }
    [[nodiscard]] index_t items() const { return shared_ ? any_items : data_.items(); }
    [[nodiscard]] sparse items(index_t first, index_t count) const {
        check_slice("sparse", items(), first, count);
        sparse part(*this);
        if (!shared_) part.data_ = data_.items(first, count);
        return part;
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("sparse", *this, x, y);
        run(b, pattern_->forward_, pattern_->rows_, pattern_->cols_, x, y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("sparse (adjoint)", *this, y, x);
        run(b, pattern_->backward_, pattern_->cols_, pattern_->rows_, y, x);
    }

private:
    sparse(std::shared_ptr<const pattern> places, item_data<B> parameters, index_t outer, index_t inner, bool is_shared)
        : pattern_(std::move(places)), data_(std::move(parameters)), outer_(outer), inner_(inner), shared_(is_shared) {
        check_value("sparse", outer >= 0 && inner >= 0, "outer or inner is negative");
        check_value("sparse", data_.features() >= pattern_->parameters_, "fewer parameters than the entries name");
    }
    void run(B& b, const typename pattern::lists& lists, index_t rows, index_t cols, const_view_t<B> in,
             view_t<B> out) const {
        if (out.empty()) return;
        const index_t stride = shared_ ? 0 : data_.view().stride();
        b.launch(out.items() * outer_ * rows, lists.per_row * inner_,
                 detail::sparse_row{rows, cols, outer_, inner_, stride, in.stride(), out.stride()},
                 lists.start.view().data(), lists.place.view().data(), lists.parameter.view().data(),
                 data_.view().data(), in.data(), out.data());
    }

    std::shared_ptr<const pattern> pattern_;
    item_data<B> data_;
    index_t outer_, inner_;
    bool shared_;
};

/// A sparse matrix given as lists of (column, weight) for each row, the same for all items.
using sparse_rows = std::vector<std::vector<std::pair<index_t, double>>>;

template <Backend B>
[[nodiscard]] sparse<B> make_sparse(B& b, index_t cols, const sparse_rows& rows, index_t outer = 1, index_t inner = 1) {
    std::vector<sparse_entry> entries;
    std::vector<scalar_t<B>> values;
    for (std::size_t r = 0; r < rows.size(); ++r)
        for (const auto& [col, weight] : rows[r]) {
            entries.push_back({static_cast<index_t>(r), col, static_cast<index_t>(values.size())});
            values.push_back(static_cast<scalar_t<B>>(weight));
        }
    auto places =
        std::make_shared<const typename sparse<B>::pattern>(b, static_cast<index_t>(rows.size()), cols, entries);
    const auto count = static_cast<index_t>(values.size());
    return sparse<B>::shared(std::move(places), to_backend(b, values, count, 1), outer, inner);
}

}  // namespace diem::linop
