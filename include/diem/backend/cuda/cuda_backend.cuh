// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/cuda/bodies.cuh>
#include <diem/backend/cuda/conv3x3.cuh>
#include <diem/backend/cuda/device.cuh>
#include <diem/backend/cuda/fft.cuh>
#include <diem/backend/cuda/grid.cuh>
#include <diem/backend/cuda/libraries.cuh>
#include <diem/backend/cuda/memory.cuh>
#include <diem/backend/cuda/pointer.cuh>
#include <diem/backend/memory.hpp>
#include <diem/backend/operand.hpp>
#include <diem/core/check.hpp>

namespace diem {

/// One stream of a CUDA device: kernels for the element-wise primitives, cuBLAS for products, cuSOLVER for
/// factorisations, cuFFT.
///
/// Primitives are queued and return at once; only `upload`, `download`, `synchronize` and `eigh` wait for the device. One
/// object serves one caller at a time; several may share a device. Results repeat from run to run. Every call is checked:
/// device_error names call, code and place. An error of a kernel that was queued earlier appears in a later call.
/// `Convolution<T>` is the form of 3x3 convolutions, `cuda_conv3x3` or `cudnn_conv3x3` (diem/cudnn.cuh).
template <std::floating_point T = float, template <class> class Convolution = cuda_conv3x3>
class cuda_backend {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);

public:
    using scalar = T;
    template <class U>
    using pointer = device_pointer<U>;
    using pool = caching_pool<device_memory>;
    template <class U>
    using buffer = pool_buffer<pointer<U>, pool>;
    /// See nn/conv_plan.hpp.
    using conv3x3 = Convolution<T>;
    using fine_grained_tag = void;

    /// Throws device_error where there is no such device.
    explicit cuda_backend(const cuda_options& options = {})
        : device_(std::make_shared<detail::cuda::device>(options)) {}

    template <class U>
    [[nodiscard]] buffer<U> allocate(index_t n) {
        device_->activate();
        return {pool_, n};
    }
    [[nodiscard]] const pool& memory() const { return *pool_; }
    [[nodiscard]] int threads() const { return 1; }
    void synchronize() { device_->synchronize(); }
    /// The stream, for callers that add their own work or record a graph.
    [[nodiscard]] cudaStream_t stream() const { return device_->stream(); }
    [[nodiscard]] int ordinal() const { return device_->ordinal(); }
    /// For `conv3x3`.
    [[nodiscard]] typename conv3x3::shared& convolutions() { return *convolutions_; }

    template <class P, class Q>
    void copy(const batch_view<P>& from, const batch_view<Q>& to) {
        check_shape("copy", "to", to, from.features(), from.items());
        using U = typename batch_view<P>::value_type;
        static_assert(std::is_same_v<U, typename batch_view<Q>::element_type>);
        indices(to.size(), detail::cuda::copy_body{to.features(), from.stride(), to.stride(), narrow(to.size())},
                static_cast<const U*>(detail::raw(from.data())), detail::raw(to.data()));
    }
    template <class U, class Q>
    void upload(const batch_view<U*>& from, const batch_view<Q>& to) {
        check_shape("upload", "to", to, from.features(), from.items());
        transfer(from.data(), from.stride(), detail::raw(to.data()), to.stride(), to.features(), to.items(),
                 cudaMemcpyHostToDevice);
    }
    template <class P, class U>
    void download(const batch_view<P>& from, const batch_view<U*>& to) {
        check_shape("download", "to", to, from.features(), from.items());
        transfer(detail::raw(from.data()), from.stride(), to.data(), to.stride(), to.features(), to.items(),
                 cudaMemcpyDeviceToHost);
    }
    template <class P>
    void fill(const batch_view<P>& to, typename batch_view<P>::value_type value) {
        using U = typename batch_view<P>::value_type;
        indices(to.size(), detail::cuda::fill_body<U>{to.features(), to.stride(), narrow(to.size()), value},
                detail::raw(to.data()));
    }

    template <class F, class... Ops>
    void map(const F& f, const Ops&... operands) {
        const auto e = detail::common_extents(operands...);
        const index_t size = e.features * e.items;
        // One array: a single item, so that no index is divided.
        const index_t features = e.flat ? std::max<index_t>(size, 1) : e.features;
        indices(size, detail::cuda::map_body<T, F>{f, features, narrow(size)}, detail::strided_of(operands)...);
    }
    template <class F, class... Pointers>
    void launch(index_t count, index_t /*cost*/, const F& f, Pointers... pointers) {
        indices(count, f, detail::raw(pointers)...);
    }
    template <class F, class... Pointers>
    void launch_teams(index_t count, index_t length, const F& f, Pointers... pointers) {
        device_->activate();
        detail::cuda::for_teams(stream(), count, length, f, detail::raw(pointers)...);
    }

    template <class A, class P, class C, class Q>
    void axpby(const A& a, const batch_view<P>& x, const C& b, const batch_view<Q>& y) {
        check_shape("axpby", "y", y, x.features(), x.items());
        detail::check_coefficient(a, x.items());
        detail::check_coefficient(b, x.items());
        indices(
            y.size(),
            detail::cuda::axpby_body<T>{y.features(), x.stride(), y.stride(), narrow(y.size()), factor(a), factor(b)},
            static_cast<const T*>(detail::raw(x.data())), detail::raw(y.data()));
    }
    template <class P, class Q, class R>
    void dot(const batch_view<P>& x, const batch_view<Q>& y, const vector_view<R>& out) {
        check_shape("dot", "y", y, x.features(), x.items());
        check_size("dot", "out.size()", out.size(), x.items());
        const T *const a = detail::raw(x.data()), *const b = detail::raw(y.data());
        double* const sums = detail::raw(out.data());
        const index_t n = x.features();
        if (n <= 64) return indices(x.items(), detail::cuda::short_dot_body<T>{n, x.stride(), y.stride()}, a, b, sums);
        // How an item is cut depends on its length alone.
        const index_t chunk = std::max<index_t>(8192, (n + 511) / 512), chunks = (n + chunk - 1) / chunk;
        const auto parts = allocate<double>(chunks > 1 ? chunks * x.items() : 0);
        double* const to = chunks > 1 ? detail::raw(parts.data()) : sums;
        device_->activate();
        detail::cuda::for_sums(stream(), chunks * x.items(),
                               detail::cuda::dot_body<T>{a, b, to, n, x.stride(), y.stride(), chunk, chunks});
        if (chunks > 1) indices(x.items(), detail::cuda::sum_chunks{chunks}, static_cast<const double*>(to), sums);
    }

    template <class P, class Q, class R>
    void gemm(typename batch_view<R>::value_type alpha, const batch_view<P>& a, op ta, const batch_view<Q>& b, op tb,
              typename batch_view<R>::value_type beta, const batch_view<R>& c) {
        using S = typename batch_view<R>::value_type;
        detail::check_gemm(a, ta, b, tb, c);
        const index_t m = c.features(), n = c.items(), k = ta == op::none ? a.items() : a.features();
        if (m == 0 || n == 0) return;
        if (k == 0) return scale(beta, c);
        device_->activate();
        detail::cuda::gemm<S>(*device_, ta, tb, m, n, k, alpha, detail::raw(a.data()),
                              leading(a.stride(), a.features()), detail::raw(b.data()),
                              leading(b.stride(), b.features()), beta, detail::raw(c.data()), leading(c.stride(), m));
    }
    template <class P, class Q, class R>
    void gemm_batched(typename matrix_batch<R>::value_type alpha, const matrix_batch<P>& a, op ta,
                      const matrix_batch<Q>& b, op tb, typename matrix_batch<R>::value_type beta,
                      const matrix_batch<R>& c) {
        using S = typename matrix_batch<R>::value_type;
        detail::check_gemm(a, ta, b, tb, c);
        const index_t k = ta == op::none ? a.cols : a.rows;
        if (c.rows == 0 || c.cols == 0 || c.count == 0) return;
        if (k == 0) {
            for (index_t i = 0; i < c.count; ++i)
                scale(beta, batch_view<R>(c.data + i * c.stride, c.rows, c.cols, c.leading));
            return;
        }
        device_->activate();
        detail::cuda::gemm_strided<S>(*device_, ta, tb, c.rows, c.cols, k, alpha, detail::raw(a.data),
                                      leading(a.leading, a.rows), a.stride, detail::raw(b.data),
                                      leading(b.leading, b.rows), b.stride, beta, detail::raw(c.data),
                                      leading(c.leading, c.rows), c.stride, c.count);
    }

    template <class P, class Q>
    void cholesky(const matrix_batch<P>& a, const vector_view<Q>& info) {
        using S = typename matrix_batch<P>::value_type;
        check_size("cholesky", "A.cols", a.cols, a.rows);
        check_size("cholesky", "info.size()", info.size(), a.count);
        if (a.count == 0) return;
        if (a.rows == 0) return fill(as_row(info), 0);
        const int n = narrow_size("cholesky", a.rows), count = narrow_size("cholesky", a.count);
        S* const base = detail::raw(a.data);
        int* const codes = detail::raw(info.data());
        if (count > 1 && n <= small_matrix) {
            // The library uses the upper triangles as work space.
            const index_t square = a.rows * a.rows;
            const auto work = allocate<S>(square * a.count);
            S* const inner = detail::raw(work.data());
            indices(square * a.count, detail::cuda::copy_square{a.rows, a.leading, a.stride},
                    static_cast<const S*>(base), inner);
            const auto address = addresses<S>(inner, square, a.count);
            detail::cuda::potrf_batched<S>(device_->solver(), n, detail::raw(address.data()), n, codes, count);
            indices(square * a.count, detail::cuda::copy_lower{a.rows, a.leading, a.stride},
                    static_cast<const S*>(inner), base);
        } else {
            device_->activate();
            const int ld = narrow_size("cholesky", leading(a.leading, a.rows));
            const int size = detail::cuda::potrf_workspace<S>(device_->solver(), n, base, ld);
            const auto work = allocate<S>(size);
            for (index_t i = 0; i < a.count; ++i)
                detail::cuda::potrf<S>(device_->solver(), n, base + i * a.stride, ld, detail::raw(work.data()), size,
                                       codes + i);
        }
        indices(a.count, detail::cuda::judge_pivots<S>{a.rows, a.leading, a.stride}, static_cast<const S*>(base),
                codes);
    }
    template <class P, class Q>
    void trsm(const matrix_batch<P>& l, op t, const matrix_batch<Q>& x) {
        using S = typename matrix_batch<Q>::value_type;
        check_size("trsm", "L.cols", l.cols, l.rows);
        check_size("trsm", "X.rows", x.rows, l.rows);
        check_size("trsm", "L.count", l.count, x.count);
        if (x.rows == 0 || x.cols == 0 || x.count == 0) return;
        device_->activate();
        const S* const factor = detail::raw(l.data);
        S* const columns = detail::raw(x.data);
        const index_t ll = leading(l.leading, l.rows), lx = leading(x.leading, x.rows);
        if (x.count == 1 || (l.stride == 0 && x.stride == x.cols * lx))
            return detail::cuda::trsm<S>(device_->blas(), t, x.rows, x.cols * x.count, factor, ll, columns, lx);
        const auto from = addresses<const S>(factor, l.stride, x.count);
        const auto to = addresses<S>(columns, x.stride, x.count);
        detail::cuda::trsm_batched<S>(device_->blas(), t, x.rows, x.cols, detail::raw(from.data()), ll,
                                      detail::raw(to.data()), lx, x.count);
    }
    /// Waits for the device. Throws device_error where the iteration does not converge.
    template <class P, class Q>
    void eigh(const batch_view<P>& a, const vector_view<Q>& w) {
        using S = typename batch_view<P>::value_type;
        check_shape("eigh", "A", a, a.features(), a.features());
        check_size("eigh", "w.size()", w.size(), a.features());
        if (a.features() == 0) return;
        device_->activate();
        const int n = narrow_size("eigh", a.features()), ld = narrow_size("eigh", leading(a.stride(), a.features()));
        S *const matrix = detail::raw(a.data()), *const values = detail::raw(w.data());
        const int size = detail::cuda::syevd_workspace<S>(device_->solver(), n, matrix, ld, values);
        const auto work = allocate<S>(size);
        const auto info = allocate<int>(1);
        detail::cuda::syevd<S>(device_->solver(), n, matrix, ld, values, detail::raw(work.data()), size,
                               detail::raw(info.data()));
        int code = 0;
        download(batch_view<pointer<int>>(info.data(), 1, 1), host_view<int>(&code, 1, 1));
        if (code != 0) throw device_error("eigh: cusolverDnXsyevd did not converge, info " + std::to_string(code));
    }

    template <class P, class Q>
    void fft2(fft_direction direction, index_t height, index_t width, const batch_view<P>& x, const batch_view<Q>& y) {
        detail::cuda::fft2<T>(*this, *fft_, direction, height, width, x, y);
    }

    template <class P>
    void fill_normal(const random_key& key, const batch_view<P>& y) {
        random<true>(key, y);
    }
    template <class P>
    void fill_uniform(const random_key& key, const batch_view<P>& y) {
        random<false>(key, y);
    }

    /// f(i, raw pointers...) for i = 0 .. count - 1, on the stream.
    template <class F, class... Args>
    void indices(index_t count, const F& f, Args... args) {
        device_->activate();
        detail::cuda::for_indices(stream(), count, f, args...);
    }

private:
    /// Up to this size a batch of matrices is factored by one call, above it one by one.
    static constexpr index_t small_matrix = 512;

    [[nodiscard]] static bool narrow(index_t size) { return detail::cuda::element::fits(size); }
    /// Of a matrix of one column the distance of columns may be anything.
    [[nodiscard]] static index_t leading(index_t stride, index_t rows) {
        return std::max<index_t>({stride, rows, index_t{1}});
    }
    [[nodiscard]] static int narrow_size(const char* where, index_t n) {
        check_value(where, n <= std::numeric_limits<int>::max(), "size is above 2^31 - 1");
        return static_cast<int>(n);
    }
    [[nodiscard]] static detail::cuda::coefficient factor(double a) { return {a, nullptr}; }
    template <class P>
    [[nodiscard]] static detail::cuda::coefficient factor(const vector_view<P>& a) {
        return {0, detail::raw(a.data())};
    }
    template <class P>
    [[nodiscard]] static batch_view<P> as_row(const vector_view<P>& v) {
        return {v.data(), v.size(), 1};
    }
    /// C = beta C of a product with nothing.
    template <class R>
    void scale(typename batch_view<R>::value_type beta, const batch_view<R>& c) {
        if constexpr (std::is_same_v<typename batch_view<R>::value_type, T>)
            axpby(0.0, c, static_cast<double>(beta), c);
        else if (beta == 0)
            fill(c, 0);
        else
            check_value("gemm", beta == 1, "the inner size is 0: only beta 0 or 1 with another scalar");
    }
    template <class U>
    [[nodiscard]] buffer<U*> addresses(U* base, index_t stride, index_t count) {
        auto out = allocate<U*>(count);
        indices(count, detail::cuda::address_body<U>{stride}, base, detail::raw(out.data()));
        return out;
    }
    template <bool Normal, class P>
    void random(const random_key& key, const batch_view<P>& y) {
        const index_t n = uniforms_per_block<T>, blocks = (y.features() + n - 1) / n;
        indices(blocks * y.items(), detail::cuda::random_body<T, Normal>{key, y.features(), y.stride(), blocks},
                detail::raw(y.data()));
    }
    template <class U>
    void transfer(const U* from, index_t from_stride, std::remove_const_t<U>* to, index_t to_stride, index_t features,
                  index_t items, cudaMemcpyKind kind) {
        if (features == 0 || items == 0) return;
        device_->activate();
        const auto width = static_cast<std::size_t>(features) * sizeof(U);
        if (items == 1 || (from_stride == features && to_stride == features)) {
            detail::cuda::checked(cudaMemcpyAsync(to, from, width * static_cast<std::size_t>(items), kind, stream()),
                                  "cudaMemcpyAsync");
        } else if (from_stride >= features && to_stride >= features && std::max(from_stride, to_stride) < (1 << 26)) {
            detail::cuda::checked(cudaMemcpy2DAsync(to, static_cast<std::size_t>(to_stride) * sizeof(U), from,
                                                    static_cast<std::size_t>(from_stride) * sizeof(U), width,
                                                    static_cast<std::size_t>(items), kind, stream()),
                                  "cudaMemcpy2DAsync");
        } else {
            for (index_t i = 0; i < items; ++i)
                detail::cuda::checked(
                    cudaMemcpyAsync(to + i * to_stride, from + i * from_stride, width, kind, stream()),
                    "cudaMemcpyAsync");
        }
        synchronize();  // the host's memory is the caller's again
    }

    std::shared_ptr<detail::cuda::device> device_;
    std::shared_ptr<pool> pool_ = std::make_shared<pool>();
    std::shared_ptr<detail::cuda::fft_plans<T>> fft_ = std::make_shared<detail::cuda::fft_plans<T>>(device_);
    std::shared_ptr<typename conv3x3::shared> convolutions_ = std::make_shared<typename conv3x3::shared>(device_);
};

}  // namespace diem
