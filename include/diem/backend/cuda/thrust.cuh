// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <thrust/device_ptr.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>

#include <memory>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/cuda/cuda_backend.cuh>
#include <diem/backend/cuda/pointer.cuh>
#include <diem/core/check.hpp>

/// \file
/// Thrust and the CUDA backend on the same memory and the same stream: nothing here copies. A backend is made of a policy by
/// `diem::on`, views of vectors by `as_view`; `execution` and `thrust_begin` give Thrust what it takes. A whole program:
/// `examples/thrust.cu`.
///
/// The backend queues its work on its stream and does not wait. What Thrust queued on another stream must be over before the
/// backend reads it, and the other way round: give both one stream, or `synchronize`.

namespace diem {

/// A vector as a batch, contiguous. Valid as long as the vector is not resized. Throws shape_error unless it has features x items
/// numbers.
template <class T, class A>
[[nodiscard]] batch_view<device_pointer<T>> as_view(thrust::device_vector<T, A>& v, index_t features, index_t items) {
    check_size("as_view", "v.size()", static_cast<index_t>(v.size()),
               checked_product("as_view", "features x items", features, items));
    return {device_pointer<T>(thrust::raw_pointer_cast(v.data())), features, items};
}
template <class T, class A>
[[nodiscard]] batch_view<device_pointer<const T>> as_view(const thrust::device_vector<T, A>& v, index_t features,
                                                          index_t items) {
    check_size("as_view", "v.size()", static_cast<index_t>(v.size()),
               checked_product("as_view", "features x items", features, items));
    return {device_pointer<const T>(thrust::raw_pointer_cast(v.data())), features, items};
}
/// A vector as one number per item, or per feature.
template <class T, class A>
[[nodiscard]] vector_view<device_pointer<T>> as_view(thrust::device_vector<T, A>& v) {
    return {device_pointer<T>(thrust::raw_pointer_cast(v.data())), static_cast<index_t>(v.size())};
}
template <class T, class A>
[[nodiscard]] vector_view<device_pointer<const T>> as_view(const thrust::device_vector<T, A>& v) {
    return {device_pointer<const T>(thrust::raw_pointer_cast(v.data())), static_cast<index_t>(v.size())};
}

/// A batch that owns the vector from now on. Throws shape_error unless it has features x items numbers.
template <Backend B, class T, class A>
[[nodiscard]] batch<B, T> as_batch(B& /*backend*/, thrust::device_vector<T, A>&& v, index_t features, index_t items) {
    const auto owner = std::make_shared<thrust::device_vector<T, A>>(std::move(v));
    T* const data = thrust::raw_pointer_cast(owner->data());
    return {buffer_t<B, T>(owner, data, static_cast<index_t>(owner->size())), features, items};
}

/// The numbers of a view for Thrust's algorithms, item after item: [thrust_begin(v), thrust_end(v)). Throws shape_error where there
/// are gaps between the items.
template <class T>
[[nodiscard]] thrust::device_ptr<T> thrust_begin(const batch_view<device_pointer<T>>& v) {
    if (!v.contiguous())
        throw shape_error("thrust_begin: items are " + std::to_string(v.stride()) + " apart, expected " +
                          std::to_string(v.features()));
    return thrust::device_ptr<T>(v.data().unwrap());
}
template <class T>
[[nodiscard]] thrust::device_ptr<T> thrust_end(const batch_view<device_pointer<T>>& v) {
    return thrust_begin(v) + v.size();
}
template <class T>
[[nodiscard]] thrust::device_ptr<T> thrust_begin(const vector_view<device_pointer<T>>& v) {
    return thrust::device_ptr<T>(v.data().unwrap());
}
template <class T>
[[nodiscard]] thrust::device_ptr<T> thrust_end(const vector_view<device_pointer<T>>& v) {
    return thrust_begin(v) + v.size();
}

#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
/// The options of a backend that queues its work where an execution policy does: cuda_backend<float> b(on(policy)).
template <class Policy>
[[nodiscard]] cuda_options on(const thrust::cuda_cub::execution_policy<Policy>& policy, cuda_options options = {}) {
    auto own = thrust::detail::derived_cast(policy);
    options.stream = thrust::cuda_cub::stream(own);
    return options;
}
/// The policy by which Thrust queues its work where a backend does.
template <class B>
    requires requires(const B& b) { b.stream(); }
[[nodiscard]] auto execution(const B& b) {
    return thrust::cuda::par.on(b.stream());
}
#else
/// Where Thrust's device is not CUDA (tests without a device), the host does its work at once.
template <class B>
[[nodiscard]] auto execution(B& b) {
    b.synchronize();
    return thrust::device;
}
#endif

}  // namespace diem
