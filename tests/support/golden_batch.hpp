// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/gaussian.hpp>

#include "support/golden.hpp"

namespace diem::test {

/// An input as a batch: its first axis counts the items.
template <class B>
batch<B> load_input(B& b, golden_file& file, const std::string& name) {
    const auto a = file.template input<scalar_t<B>>(name);
    return to_backend(b, a.data, a.features(), a.items());
}

/// A row-major matrix (rows, cols) is column-major cols x rows; this makes it column-major rows x cols.
template <class T>
std::vector<T> transposed(const std::vector<T>& a, index_t rows, index_t cols) {
    std::vector<T> out(a.size());
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; ++j)
            out[static_cast<std::size_t>(j * rows + i)] = a[static_cast<std::size_t>(i * cols + j)];
    return out;
}

/// N(mu, diag(d) + u u') of a golden file.
template <Backend B>
diffusion::gaussian<B> load_gaussian(B& b, golden_file& file) {
    using T = scalar_t<B>;
    const auto mu = file.template input<T>("mu"), d = file.template input<T>("d"), u = file.template input<T>("u");
    const index_t features = mu.shape[0], rank = u.shape[1];
    return {b, to_backend(b, mu.data, features, 1), to_backend(b, d.data, features, 1),
            to_backend(b, transposed(u.data, features, rank), features, rank)};
}

}  // namespace diem::test
