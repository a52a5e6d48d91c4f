// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>

/// \file
/// Names, shapes and places of the weights of a network.
/// \snippet tests/examples/nn.cpp nn/parameters.hpp

namespace diem::nn {

/// One named array inside a flat buffer, row-major.
struct parameter {
    std::string name;
    std::vector<index_t> shape;
    index_t offset = 0, size = 0;
    double init_scale = 0;  ///< initial values are U(-1, 1) times this

    template <class Pointer>
    [[nodiscard]] vector_view<Pointer> of(const vector_view<Pointer>& flat) const {
        return flat.range(offset, size);
    }
};

/// Names, shapes and places of all parameters of a model, in the order in which they act, without gaps.
class parameter_table {
public:
    /// Appends an array and returns its place. Throws value_error where the name exists, shape_error where the elements of the
    /// array, or of all arrays, cannot be counted.
    parameter add(std::string name, std::vector<index_t> shape, double init_scale) {
        check_value("nn::parameter_table", index_.find(name) == index_.end(), "parameter " + name + " exists already");
        const index_t size = checked_product("nn::parameter_table", "shape of " + name, shape);
        parameter p{std::move(name), std::move(shape), size_, size, init_scale};
        size_ = checked_sum("nn::parameter_table", "elements before " + p.name + ", and its own", size_, size);
        index_.emplace(p.name, entries_.size());
        entries_.push_back(std::move(p));
        return entries_.back();
    }
    [[nodiscard]] bool contains(const std::string& name) const { return index_.find(name) != index_.end(); }
    /// Throws value_error where there is none.
    [[nodiscard]] const parameter& find(const std::string& name) const {
        const auto at = index_.find(name);
        check_value("nn::parameter_table", at != index_.end(), "no parameter " + name);
        return entries_[at->second];
    }
    [[nodiscard]] const std::vector<parameter>& entries() const { return entries_; }
    /// Elements in all.
    [[nodiscard]] index_t size() const { return size_; }

private:
    std::vector<parameter> entries_;
    std::map<std::string, std::size_t> index_;
    index_t size_ = 0;
};

namespace detail {
template <class T>
struct centre_and_scale {
    T scale;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y) const {
        y = scale * (T(2) * y - T(1));
    }
};
}  // namespace detail

/// Initial values: U(-1, 1) times the scale of each parameter, a function of (key, position in the table, element) alone.
template <Backend B>
void initialize(B& b, const parameter_table& table, random_key key, vector_t<B> flat) {
    using T = scalar_t<B>;
    check_size("nn::initialize", "flat.size()", flat.size(), table.size());
    key = key.with_lane(random_lane::initial_weights);
    std::uint32_t item = 0;
    for (const parameter& p : table.entries()) {
        const view_t<B> y = as_batch(p.of(flat));
        if (p.init_scale == 0) {
            b.fill(y, T(0));
        } else {
            b.fill_uniform(key.skip_items(item), y);
            b.map(detail::centre_and_scale<T>{static_cast<T>(p.init_scale)}, y);
        }
        ++item;
    }
}

}  // namespace diem::nn
