// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include <diem/backend/eigen/conv3x3.hpp>
#include <diem/backend/eigen/conv3x3_streamed.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/memory.hpp>
#include <diem/core/view.hpp>

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// The 3x3 convolution of one layer on the Eigen backend. The transformed kernels of the forward pass and of the input VJP
/// are kept until `changed` where they are small, from the second call on (another thread's counts): a training step, which takes each once, would keep
/// them for nothing. Large ones (36 / 9 of the parameters, twice, would dominate the memory of a
/// big network) are transformed in each call, as a whole, which costs 5 - 20 % of the call, or piece by piece
/// (conv3x3_streamed.hpp). Several threads may call the forward pass and the input VJP at once, each with its own backend. The work
/// is split among the backend's threads. Images are contiguous, (height, width, channels).
template <class T>
class conv3x3_plan {
public:
    conv3x3_plan(index_t height, index_t width, index_t in, index_t out, index_t stride) {
        shape_.height = height;
        shape_.width = width;
        shape_.in = in;
        shape_.out = out;
        shape_.stride = stride;
    }

    /// The kernel has changed: what was derived from it is computed again when next needed.
    void changed() {
        for (auto& each : passes_) each = {};
    }

    /// y (+)= conv(x, kernel) + bias; `bias` may be empty.
    template <class B>
    void forward(B& b, vector_view<const T*> kernel, vector_view<const T*> bias, batch_view<const T*> x,
                 batch_view<T*> y, bool accumulate) {
        adopt(b);
        const conv3x3_shape g = of(x.items());
        const T* const offset = bias.size() > 0 ? bias.data() : nullptr;
        if (streamed(b, g, conv_pass::forward, kernel, offset, x.data(), y.data(), accumulate)) return;
        buffer temporary;
        const T* const w = weights(b, conv_pass::forward, kernel, temporary);
        split(b, g, conv_pass::forward, [&](index_t first, index_t last, T* workspace) {
            conv3x3_forward<T>(g, method_, w, offset, x.data(), y.data(), accumulate, first, last, workspace);
        });
    }
    /// x_bar (+)= transpose of the forward pass in x.
    template <class B>
    void vjp(B& b, vector_view<const T*> kernel, batch_view<const T*> y_bar, batch_view<T*> x_bar, bool accumulate) {
        adopt(b);
        const conv3x3_shape g = of(x_bar.items());
        if (streamed(b, g, conv_pass::vjp_input, kernel, nullptr, y_bar.data(), x_bar.data(), accumulate)) return;
        buffer temporary;
        const T* const w = weights(b, conv_pass::vjp_input, kernel, temporary);
        split(b, g, conv_pass::vjp_input, [&](index_t first, index_t last, T* workspace) {
            conv3x3_vjp_input<T>(g, method_, w, y_bar.data(), x_bar.data(), accumulate, first, last, workspace);
        });
    }
    /// kernel_bar, bias_bar (+)= gradient; `bias_bar` may be empty.
    template <class B>
    void vjp_params(B& b, batch_view<const T*> x, batch_view<const T*> y_bar, vector_view<T*> kernel_bar,
                    vector_view<T*> bias_bar, bool accumulate) {
        adopt(b);
        const conv3x3_shape g = of(x.items());
        const auto split = conv3x3_split_params<T>(g, method_, b.threads());
        const index_t work = 9 * g.items * g.height * g.width * split.depth;
        b.parallel(split.blocks(), std::max<index_t>(1, work), [&](index_t first, index_t last) {
            for (index_t k = first; k < last; ++k) {
                auto workspace =
                    b.template allocate<T>(for_a_call(conv3x3_params_workspace_size<T>(g, method_, split[k])));
                conv3x3_vjp_params<T>(g, method_, x.data(), y_bar.data(), kernel_bar.data(), accumulate, split[k],
                                      workspace.data());
            }
        });
        if (bias_bar.size() == 0) return;
        constexpr index_t width = simd<T>::width;
        const index_t pixels = std::max<index_t>(1, g.items * g.rows() * g.columns());
        b.parallel((g.out + width - 1) / width, width * pixels, [&](index_t first, index_t last) {
            conv3x3_vjp_bias<T>(g, y_bar.data(), bias_bar.data(), accumulate, first * width,
                                std::min(last * width, g.out));
        });
    }

private:
    [[nodiscard]] conv3x3_shape of(index_t items) const {
        conv3x3_shape g = shape_;
        g.items = items;
        return g;
    }
    using buffer = pool_buffer<T*, caching_pool<host_memory>>;

    /// What is kept was made for one kind of products.
    template <class B>
    void adopt(const B& b) {
        const std::lock_guard lock(*mutex_);
        if (method_.products == b.products()) return;
        method_.products = b.products();
        changed();
    }
    /// Whether the transformed kernel of a pass is small enough to be kept.
    [[nodiscard]] bool kept(conv_pass pass) const {
        return conv3x3_weights_size<T>(shape_, pass, method_) * static_cast<index_t>(sizeof(T)) <= largest_kept;
    }

    /// The transformed kernel; `temporary` owns it where it is not kept.
    template <class B>
    const T* weights(B& b, conv_pass pass, vector_view<const T*> kernel, buffer& temporary) {
        transformed& of_pass = passes_[pass == conv_pass::forward ? 0 : 1];
        std::unique_lock lock(*mutex_);
        if (of_pass.kernel.size() > 0) return of_pass.kernel.data();
        if (!kept(pass) || !std::exchange(of_pass.used, true)) {
            lock.unlock();
            transform(b, pass, kernel, temporary, true);
            return temporary.data();
        }
        transform(b, pass, kernel, of_pass.kernel, false);  // others wait for it
        return of_pass.kernel.data();
    }
    template <class B>
    void transform(B& b, conv_pass pass, vector_view<const T*> kernel, buffer& to, bool passing) const {
        const index_t size = conv3x3_weights_size<T>(shape_, pass, method_);
        to = b.template allocate<T>(passing ? for_a_call(size) : size);
        const index_t panels = conv3x3_panels<T>(shape_, pass);
        b.parallel(panels, size / std::max<index_t>(panels, 1), [&](index_t first, index_t last) {
            conv3x3_transform_weights<T>(shape_, pass, method_, kernel.data(), to.data(), first, last);
        });
    }
    /// Elements of what lives for one call: layers of other sizes use the same block of the pool.
    static index_t for_a_call(index_t size) {
        return static_cast<index_t>(std::bit_ceil(static_cast<std::size_t>(size)));
    }
    /// y (+)= the pass of x + bias, where the kernel is too large to be kept transformed and the images are too few to pay
    /// for transforming it as a whole; else false.
    template <class B>
    bool streamed(B& b, const conv3x3_shape& g, conv_pass pass, vector_view<const T*> kernel, const T* bias, const T* x,
                  T* y, bool accumulate) {
        if (kept(pass)) return false;
        const auto sizes = conv3x3_streamed_sizes<T>(g, pass, method_);
        if (!sizes.possible || sizes.panels < b.threads()) return false;
        auto planes = b.template allocate<T>(for_a_call(sizes.planes));
        const index_t depth = pass == conv_pass::forward ? g.in : g.out;
        b.parallel(sizes.tiles, 64 * depth, [&](index_t first, index_t last) {
            auto workspace = b.template allocate<T>(for_a_call(sizes.images_workspace));
            conv3x3_streamed_images<T>(g, pass, method_, x, planes.data(), first, last, workspace.data());
        });
        b.parallel(sizes.panels, 64 * sizes.tiles * depth, [&](index_t first, index_t last) {
            auto workspace = b.template allocate<T>(for_a_call(sizes.results_workspace));
            conv3x3_streamed_results<T>(g, pass, method_, kernel.data(), bias, planes.data(), y, accumulate, first,
                                        last, workspace.data());
        });
        return true;
    }
    /// One part per thread: a part should fill the kernels' blocks, and reads all weights.
    template <class B, class F>
    void split(B& b, const conv3x3_shape& g, conv_pass pass, const F& f) {
        const index_t units = conv3x3_units(g, pass), size = conv3x3_workspace_size<T>(g, pass, method_);
        if (units == 0) return;
        const index_t work = 9 * g.items * g.height * g.width * g.in * g.out / (g.stride * g.stride);
        const index_t parts = work < smallest_work ? 1 : std::min<index_t>(units, b.threads());
        b.parallel(parts, work, [&](index_t first, index_t last) {
            auto workspace = b.template allocate<T>(for_a_call(size));
            f(first * units / parts, last * units / parts, workspace.data());
        });
    }
    static constexpr index_t smallest_work = 1 << 17;
    static constexpr index_t largest_kept = 3 << 20;  ///< bytes

    conv3x3_shape shape_;
    conv_method method_;  ///< of the products of the backend that called last
    /// The kernel as a pass reads it, empty where it is not kept, and whether the pass was called with it.
    struct transformed {
        buffer kernel;
        bool used = false;
    };
    transformed passes_[2];
    std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  ///< of the two above; moves with the plan
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
