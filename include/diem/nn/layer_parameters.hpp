// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <string>

#include <diem/nn/conv.hpp>
#include <diem/nn/parameters.hpp>

/// \file
/// Internal: adds the parameters of a layer, weight or kernel first, then the bias, with the spread of their first values.

namespace diem::nn {

inline std::array<parameter, 2> add_linear(parameter_table& table, const std::string& name, index_t in, index_t out,
                                           double factor = 1) {
    const parameter weight = table.add(name + ".weight", {in, out}, factor / std::sqrt(static_cast<double>(in)));
    return {weight, table.add(name + ".bias", {out}, 0)};
}
inline std::array<parameter, 2> add_conv(parameter_table& table, const std::string& name, const conv_shape& s) {
    const parameter kernel = table.add(name + ".kernel", {s.kernel, s.kernel, s.in.channels, s.out},
                                       1 / std::sqrt(static_cast<double>(s.depth())));
    return {kernel, table.add(name + ".bias", {s.out}, 0)};
}

}  // namespace diem::nn
