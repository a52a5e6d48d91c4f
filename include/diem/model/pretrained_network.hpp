// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/model/any_network.hpp>
#include <diem/nn/ddpm_unet.hpp>

/// \file
/// Networks trained elsewhere, beside our own.
/// \snippet tests/examples/model.cpp model/pretrained_network.hpp

namespace diem::model {

/// Any network that a file may hold, also those trained elsewhere (docs/networks.md): `prior::load<B, pretrained_network<B>>`.
template <Backend B>
using pretrained_network = any_network<B, nn::ddpm_unet<B>>;

}  // namespace diem::model
