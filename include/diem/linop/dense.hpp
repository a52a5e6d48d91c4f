// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/linop/data.hpp>

/// \file
/// Products with matrices.
/// \snippet tests/examples/linop.cpp linop/dense.hpp

namespace diem::linop {

/// y_i = A x_i (one matrix for all items) or y_i = A_i x_i (one per item), column-major.
template <Backend B>
class dense {
    using T = scalar_t<B>;

public:
    using operator_tag = linear_tag;

    /// matrix: a view or batch of rows x cols (features are rows, items are columns).
    [[nodiscard]] static dense shared(item_data<B> matrix) {
        const index_t rows = matrix.features(), cols = matrix.items();
        return dense(std::move(matrix), rows, cols, true);
    }
    /// matrices: (rows * cols) x items, each item column-major.
    [[nodiscard]] static dense per_item(item_data<B> matrices, index_t rows, index_t cols) {
        check_value("dense::per_item", rows >= 0 && cols >= 0, "rows or cols is negative");
        check_size("dense::per_item", "features of the matrices", matrices.features(), rows * cols);
        return dense(std::move(matrices), rows, cols, false);
    }

    [[nodiscard]] index_t rows() const { return rows_; }
    [[nodiscard]] index_t cols() const { return cols_; }
    [[nodiscard]] index_t items() const { return shared_ ? any_items : data_.items(); }
    [[nodiscard]] bool is_shared() const { return shared_; }
    [[nodiscard]] const item_data<B>& values() const { return data_; }
    [[nodiscard]] dense items(index_t first, index_t count) const {
        check_slice("dense", items(), first, count);
        return shared_ ? *this : dense(data_.items(first, count), rows_, cols_, false);
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("dense", *this, x, y);
        multiply(b, op::none, x, y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("dense (adjoint)", *this, y, x);
        multiply(b, op::transpose, y, x);
    }

private:
    dense(item_data<B> data, index_t rows, index_t cols, bool is_shared)
        : data_(std::move(data)), rows_(rows), cols_(cols), shared_(is_shared) {}
    void multiply(B& b, op t, const_view_t<B> in, view_t<B> out) const {
        if (shared_)
            b.gemm(T(1), data_.view(), t, in, op::none, T(0), out);
        else
            b.gemm_batched(T(1), as_matrices(data_.view(), rows_, cols_), t, as_columns(in), op::none, T(0),
                           as_columns(out));
    }
    item_data<B> data_;
    index_t rows_, cols_;
    bool shared_;
};

}  // namespace diem::linop
