// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cufft.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>

#include <diem/backend/cuda/device.cuh>
#include <diem/backend/cuda/error.cuh>
#include <diem/backend/fft.hpp>
#include <diem/core/check.hpp>
#include <diem/core/macros.hpp>

/// \file
/// The Fourier transform of the CUDA backend: cuFFT between two kernels that centre and scale.

namespace diem::detail::cuda {

/// Where complex number k of a block of images, in the order of cuFFT, lies in a batch of centred images.
struct fft_order {
    std::uint32_t height, width;
    index_t first, each, stride;  ///< image that the block begins with, images of an item, distance of items

    [[nodiscard]] DIEM_HOST_DEVICE index_t operator()(index_t k) const {
        const auto c = static_cast<std::uint32_t>(k);
        const std::uint32_t row = c / width, image = row / height;
        std::uint32_t v = c - row * width + width / 2, u = row - image * height + height / 2;
        v -= v >= width ? width : 0;
        u -= u >= height ? height : 0;
        const index_t n = first + image, item = n / each, in_item = n - item * each;
        return item * stride + 2 * ((in_item * height + u) * width + v);
    }
};
template <class T>
struct fft_gather {
    fft_order order;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* x, T* work) const {
        const T* const from = x + order(k);
        work[2 * k] = from[0];
        work[2 * k + 1] = from[1];
    }
};
template <class T>
struct fft_scatter {
    fft_order order;
    T scale;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* work, T* y) const {
        T* const to = y + order(k);
        to[0] = scale * work[2 * k];
        to[1] = scale * work[2 * k + 1];
    }
};

/// Plans of cuFFT for the shapes seen last, on one stream. A plan's own tables are allocated when it is made; its work area is
/// given by the caller.
template <class T>
class fft_plans {
public:
    explicit fft_plans(std::shared_ptr<device> where) : device_(std::move(where)) {}
    fft_plans(const fft_plans&) = delete;
    fft_plans& operator=(const fft_plans&) = delete;
    ~fft_plans() { clear(); }

    struct plan {
        cufftHandle handle = 0;
        std::size_t bytes = 0;  ///< of the work area
    };
    [[nodiscard]] plan of(index_t height, index_t width, index_t images) {
        const std::array<index_t, 3> key{height, width, images};
        if (const auto at = plans_.find(key); at != plans_.end()) return at->second;
        if (plans_.size() >= most) clear();
        plan made;
        checked(cufftCreate(&made.handle), "cufftCreate");
        try {
            int sizes[2] = {static_cast<int>(height), static_cast<int>(width)};
            int line = static_cast<int>(height * width);
            const bool flat = height == 1 || width == 1;
            checked(cufftSetAutoAllocation(made.handle, 0), "cufftSetAutoAllocation");
            checked(cufftMakePlanMany(made.handle, flat ? 1 : 2, flat ? &line : sizes, nullptr, 1, line, nullptr, 1,
                                      line, std::is_same_v<T, float> ? CUFFT_C2C : CUFFT_Z2Z, static_cast<int>(images),
                                      &made.bytes),
                    "cufftMakePlanMany");
            checked(cufftSetStream(made.handle, device_->stream()), "cufftSetStream");
        } catch (...) {
            static_cast<void>(cufftDestroy(made.handle));
            throw;
        }
        plans_.emplace(key, made);
        return made;
    }
    /// In place, neither centred nor scaled.
    void run(const plan& p, fft_direction direction, T* data, void* work) const {
        const int sign = direction == fft_direction::forward ? CUFFT_FORWARD : CUFFT_INVERSE;
        if (p.bytes > 0) checked(cufftSetWorkArea(p.handle, work), "cufftSetWorkArea");
        if constexpr (std::is_same_v<T, float>) {
            auto* const z = reinterpret_cast<cufftComplex*>(data);
            checked(cufftExecC2C(p.handle, z, z, sign), "cufftExecC2C");
        } else {
            auto* const z = reinterpret_cast<cufftDoubleComplex*>(data);
            checked(cufftExecZ2Z(p.handle, z, z, sign), "cufftExecZ2Z");
        }
    }

private:
    static constexpr std::size_t most = 32;
    void clear() noexcept {
        if (plans_.empty()) return;
        static_cast<void>(cudaSetDevice(device_->ordinal()));
        static_cast<void>(cudaStreamSynchronize(device_->stream()));
        for (const auto& [key, p] : plans_) static_cast<void>(cufftDestroy(p.handle));
        plans_.clear();
    }
    std::shared_ptr<device> device_;
    std::map<std::array<index_t, 3>, plan> plans_;
};

/// `Backend::fft2`: blocks of images of at most 2^26 complex numbers, or one image.
template <class T, class B, class P, class Q>
void fft2(B& b, fft_plans<T>& plans, fft_direction direction, index_t height, index_t width, const batch_view<P>& x,
          const batch_view<Q>& y) {
    check_fft2(height, width, x, y);
    if (x.empty()) return;
    check_value("fft2", height <= std::numeric_limits<int>::max() / width, "an image has more than 2^31 - 1 pixels");
    const index_t size = height * width, each = x.features() / (2 * size), images = each * x.items();
    const index_t block = std::clamp<index_t>((index_t{1} << 26) / size, 1, images);
    const auto extent = [](index_t n) { return static_cast<std::uint32_t>(n); };
    const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(size)));
    const auto data = b.template allocate<T>(2 * size * block);
    for (index_t first = 0; first < images; first += block) {
        const index_t count = std::min(block, images - first);
        b.launch(count * size, 1, fft_gather<T>{{extent(height), extent(width), first, each, x.stride()}}, x.data(),
                 data.data());
        if (size > 1) {
            const auto plan = plans.of(height, width, count);
            const auto work = b.template allocate<unsigned char>(static_cast<index_t>(plan.bytes));
            plans.run(plan, direction, data.data().unwrap(), work.data().unwrap());
        }
        b.launch(count * size, 1, fft_scatter<T>{{extent(height), extent(width), first, each, y.stride()}, scale},
                 data.data(), y.data());
    }
}

}  // namespace diem::detail::cuda
