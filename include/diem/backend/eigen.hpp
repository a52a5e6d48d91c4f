// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/eigen/conv3x3_plan.hpp>
#include <diem/backend/eigen/elementwise.hpp>
#include <diem/backend/eigen/fft2.hpp>
#include <diem/backend/eigen/gemm.hpp>
#include <diem/backend/eigen/gemm_rounded.hpp>
#include <diem/backend/eigen/instantiate.hpp>
#include <diem/backend/eigen/low_rank_plan.hpp>
#include <diem/backend/eigen/matrix.hpp>
#include <diem/backend/eigen/random.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/operand.hpp>
#include <diem/backend/product_precision.hpp>
#include <diem/backend/thread_pool.hpp>
#include <diem/core/check.hpp>

/// \file
/// The backend of the CPU: threads over items, vectors inside them.
/// \snippet tests/examples/backend.cpp backend/eigen.hpp

namespace diem {

struct eigen_options {
    int threads = 0;  ///< < 1: as many as `host_threads()`
    /// Of networks: bf16 rounds the operands of convolutions, linear layers and attention, which are then faster on processors
    /// with AMX or two units of AVX512-BF16 and slower on others; all else stays float32.
    product_precision products = product_precision::float32;
};

inline namespace DIEM_SIMD_NAMESPACE {

/// Host memory, Eigen's vectorised algebra, threads over the items of a batch.
///
/// One object serves one caller at a time: what uses it inside its own job, or from two threads at once, gets a usage_error.
/// Results do not depend on the number of threads. Matrix products may be split among threads by columns or rows, never
/// along the inner dimension.
template <std::floating_point T = float>
class eigen_backend {
public:
    using scalar = T;
    template <class U>
    using pointer = U*;
    using pool = caching_pool<host_memory>;
    template <class U>
    using buffer = pool_buffer<U*, pool>;
    /// The faster form of a 3x3 convolution, see nn/conv_plan.hpp.
    using conv3x3 = detail::eigen::conv3x3_plan<T>;
    /// The faster form of diag(d) + u u', see diffusion/harmonic.hpp.
    using low_rank = detail::eigen::low_rank_plan<T>;

    /// Elements of an array that a dozen others can share the caches with: what chains of element-wise passes should take at
    /// a time.
    static constexpr index_t block_elements = index_t{1} << 17;

    /// `threads` < 1: as many as `host_threads()`. Where the system gives fewer, it goes on with those. Throws value_error above
    /// thread_pool::most_threads.
    explicit eigen_backend(int threads = 0) : eigen_backend(eigen_options{.threads = threads}) {}
    /// The same; and value_error where `products` is tf32.
    explicit eigen_backend(const eigen_options& o)
        : products_(o.products), threads_(std::make_unique<thread_pool>(o.threads)) {
        check_value("eigen_backend", o.products != product_precision::tf32,
                    "products are tf32, which the CPU does not have; expected float32 or bf16");
    }

    template <class U>
    [[nodiscard]] buffer<U> allocate(index_t n) {
        return {pool_, n};
    }
    [[nodiscard]] const pool& memory() const { return *pool_; }
    /// Arrays of at least `least` bytes that are made from now on lie in blocks of `source`.
    void large_blocks_from(std::size_t least, block_source source) {
        pool_->raw().large_blocks_from(least, std::move(source));
    }
    /// Items of v will be read in any order, or in theirs again.
    template <class U>
    void random_access(const batch_view<U*>& v, bool on) {
        pool_->raw().random_access(v.data(), on);
    }
    [[nodiscard]] int threads() const { return threads_ ? threads_->threads() : 1; }
    /// How many were asked for: more than threads() where the system gave fewer.
    [[nodiscard]] int requested_threads() const { return threads_ ? threads_->requested() : 1; }
    [[nodiscard]] product_precision products() const { return products_; }
    void synchronize() {}

    /// f(first, last) on parts of 0 .. count - 1; `cost` is the work of one index in elements touched.
    template <class F>
    void parallel(index_t count, index_t cost, const F& f) {
        if (!threads_) return count > 0 ? f(index_t{0}, count) : void();
        threads_->run(count, std::max<index_t>(1, smallest_job / std::max<index_t>(cost, 1)), f);
    }

    /// f(part, first, count) for blocks of `block` items, each on one thread: `part` is a backend of that thread alone, on the
    /// same memory. For chains of steps on items that know nothing of each other: no thread waits for another between them.
    /// Throws value_error unless block >= 1.
    template <class F>
    void for_blocks(index_t items, index_t block, const F& f) {
        check_value("for_blocks", block >= 1, "a block has no items");
        parallel(items < 1 ? 0 : (items - 1) / block + 1, smallest_job, [&](index_t first, index_t last) {
            eigen_backend part(pool_, fft_, products_);
            for (index_t k = first; k < last; ++k) f(part, k * block, std::min(block, items - k * block));
        });
    }

    template <class U, class W>
    void copy(const batch_view<U*>& from, const batch_view<W*>& to) {
        check_shape("copy", "to", to, from.features(), from.items());
        parallel(from.items(), from.features(), [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i)
                if (from.features() > 0)
                    std::memmove(to.data() + i * to.stride(), from.data() + i * from.stride(),
                                 static_cast<std::size_t>(from.features()) * sizeof(U));
        });
    }
    template <class U, class W>
    void upload(const batch_view<U*>& from, const batch_view<W*>& to) {
        copy(from, to);
    }
    template <class U, class W>
    void download(const batch_view<U*>& from, const batch_view<W*>& to) {
        copy(from, to);
    }
    template <class U>
    void fill(const batch_view<U*>& to, typename batch_view<U*>::value_type value) {
        parallel(to.items(), to.features(), [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i) std::fill_n(to.data() + i * to.stride(), to.features(), value);
        });
    }

    template <class F, class... Ops>
    void map(const F& f, const Ops&... operands) {
        auto e = detail::common_extents(operands...);
        if (e.flat) e = {e.features * e.items, 1, true};
        map_elements(f, e, detail::strided_of(operands)...);
    }
    template <class F, class... Pointers>
    void launch(index_t count, index_t cost, const F& f, Pointers... pointers) {
        parallel(count, cost, [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i) f(i, pointers...);
        });
    }
    template <class A, class U, class C>
    void axpby(const A& a, const batch_view<U*>& x, const C& b, const batch_view<T*>& y) {
        check_shape("axpby", "y", y, x.features(), x.items());
        detail::check_coefficient(a, x.items());
        detail::check_coefficient(b, x.items());
        parallel_elements(x.features(), x.items(), [&](index_t i, index_t from, index_t to) {
            detail::eigen::axpby_row<T>(static_cast<T>(detail::coefficient(a, i)), x.data() + i * x.stride() + from,
                                        static_cast<T>(detail::coefficient(b, i)), y.data() + i * y.stride() + from,
                                        to - from);
        });
    }
    template <class U, class W>
    void dot(const batch_view<U*>& x, const batch_view<W*>& y, const vector_view<double*>& out) {
        check_shape("dot", "y", y, x.features(), x.items());
        check_size("dot", "out.size()", out.size(), x.items());
        // Long items are cut into blocks of fixed length, so that the sum does not depend on the number of threads.
        const index_t blocks = (x.features() + dot_block - 1) / dot_block;
        if (blocks > 1) {
            auto parts = allocate<double>(blocks * x.items());
            dot_blocks(x, y, blocks, parts.data());
            for (index_t i = 0; i < x.items(); ++i) {
                double sum = 0;
                for (index_t k = 0; k < blocks; ++k) sum += parts.data()[i * blocks + k];
                out.data()[i] = sum;
            }
        } else if (blocks == 1) {
            dot_blocks(x, y, 1, out.data());
        } else {
            std::fill_n(out.data(), out.size(), 0.0);
        }
    }

    template <class U, class W, class S>
    void gemm(std::type_identity_t<S> alpha, const batch_view<U*>& a, op ta, const batch_view<W*>& b, op tb,
              std::type_identity_t<S> beta, const batch_view<S*>& c) {
        detail::check_gemm(a, ta, b, tb, c);
        const index_t k = ta == op::none ? a.items() : a.features();
        const auto kernel = detail::eigen::choose_gemm(ta, tb, c.features(), c.items(), k);
        split_product(a, ta, b, tb, c, k, 2, [&](const S* from_a, const S* from_b, S* to, index_t rows, index_t cols) {
            multiply<S>(kernel, alpha, from_a, a.stride(), ta, from_b, b.stride(), tb, beta, to, c.stride(), rows, cols,
                        k);
        });
    }
    template <class U, class W, class S>
    void gemm_batched(std::type_identity_t<S> alpha, const matrix_batch<U*>& a, op ta, const matrix_batch<W*>& b, op tb,
                      std::type_identity_t<S> beta, const matrix_batch<S*>& c) {
        detail::check_gemm(a, ta, b, tb, c);
        const index_t k = ta == op::none ? a.cols : a.rows;
        const auto kernel = detail::eigen::choose_gemm(ta, tb, c.rows, c.cols, k);
        parallel(c.count, c.rows * c.cols * k / 8 + 1, [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i)
                multiply<S>(kernel, alpha, a.data + i * a.stride, a.leading, ta, b.data + i * b.stride, b.leading, tb,
                            beta, c.data + i * c.stride, c.leading, c.rows, c.cols, k);
        });
    }

    /// `gemm` and `gemm_batched` of what a network computes: with operands rounded as `products()` says.
    void network_gemm(T alpha, const batch_view<const T*>& a, op ta, const batch_view<const T*>& b, op tb, T beta,
                      const batch_view<T*>& c) {
        if (!rounds()) return gemm(alpha, a, ta, b, tb, beta, c);
        detail::check_gemm(a, ta, b, tb, c);
        const index_t k = ta == op::none ? a.items() : a.features();
        // One part per thread: each packs the factor that they share.
        split_product(a, ta, b, tb, c, k, 1, [&](const T* from_a, const T* from_b, T* to, index_t rows, index_t cols) {
            auto workspace = allocate<T>(detail::eigen::multiply_rounded_workspace(rows));
            detail::eigen::multiply_rounded<T>(
                {alpha, from_a, a.stride(), ta, from_b, b.stride(), tb, beta, to, c.stride(), rows, cols, k},
                workspace.data());
        });
    }
    void network_gemm_batched(T alpha, const matrix_batch<const T*>& a, op ta, const matrix_batch<const T*>& b, op tb,
                              T beta, const matrix_batch<T*>& c) {
        if (!rounds()) return gemm_batched(alpha, a, ta, b, tb, beta, c);
        detail::check_gemm(a, ta, b, tb, c);
        const index_t k = ta == op::none ? a.cols : a.rows;
        parallel(c.count, c.rows * c.cols * k / 8 + 1, [&](index_t first, index_t last) {
            auto workspace = allocate<T>(detail::eigen::multiply_rounded_workspace(c.rows));
            for (index_t i = first; i < last; ++i)
                detail::eigen::multiply_rounded<T>(
                    {alpha, a.data + i * a.stride, a.leading, ta, b.data + i * b.stride, b.leading, tb, beta,
                     c.data + i * c.stride, c.leading, c.rows, c.cols, k},
                    workspace.data());
        });
    }

    template <class S>
    void cholesky(const matrix_batch<S*>& a, const vector_view<int*>& info) {
        check_size("cholesky", "A.cols", a.cols, a.rows);
        check_size("cholesky", "info.size()", info.size(), a.count);
        parallel(a.count, a.rows * a.rows * a.rows / 24 + 1, [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i)
                info.data()[i] = detail::eigen::cholesky_in_place<S>(a.data + i * a.stride, a.leading, a.rows);
        });
    }
    template <class U, class S>
    void trsm(const matrix_batch<U*>& l, op t, const matrix_batch<S*>& x) {
        check_size("trsm", "L.cols", l.cols, l.rows);
        check_size("trsm", "X.rows", x.rows, l.rows);
        check_size("trsm", "L.count", l.count, x.count);
        parallel(x.count, l.rows * l.rows * x.cols / 8 + 1, [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i)
                detail::eigen::solve_lower<S>(l.data + i * l.stride, l.leading, t, l.rows, x.data + i * x.stride,
                                              x.leading, x.cols);
        });
    }
    template <class S>
    void eigh(const batch_view<S*>& a, const vector_view<S*>& w) {
        const index_t n = a.features();
        check_shape("eigh", "A", a, n, n);
        check_size("eigh", "w.size()", w.size(), n);
        detail::eigen::eigen_decomposition<S>(a.data(), a.stride(), n, w.data());
    }

    template <class U>
    void fft2(fft_direction direction, index_t height, index_t width, const batch_view<U*>& x,
              const batch_view<T*>& y) {
        detail::check_fft2(height, width, x, y);
        detail::eigen::fft2<eigen_backend, T>(*this, *fft_, direction, height, width, x, y);
    }

    void fill_normal(const random_key& key, const batch_view<T*>& y) { random<true>(key, y); }
    void fill_uniform(const random_key& key, const batch_view<T*>& y) { random<false>(key, y); }

private:
    using fft_plans = detail::eigen::fft_plans<T>;

    /// Products of the other scalar take the library's kernel alone: fewer templates to compile.
    template <class S, class... Rest>
    static void multiply(detail::eigen::gemm_kernel kernel, Rest... rest) {
        if constexpr (std::is_same_v<S, T>)
            detail::eigen::multiply<S>(kernel, rest...);
        else
            detail::eigen::multiply_by_library<S>(rest...);
    }

    eigen_backend(std::shared_ptr<pool> memory, std::shared_ptr<fft_plans> fft, product_precision products)
        : products_(products), pool_(std::move(memory)), fft_(std::move(fft)) {}

    [[nodiscard]] bool rounds() const { return std::is_same_v<T, float> && products_ != product_precision::float32; }

    /// f(op(A) from its row, op(B) from its column, C from its element, rows, columns) for parts of C = op(A) op(B), `each` of
    /// them for a thread.
    template <class U, class W, class S, class F>
    void split_product(const batch_view<U*>& a, op ta, const batch_view<W*>& b, op tb, const batch_view<S*>& c,
                       index_t k, int each, const F& f) {
        const index_t m = c.features(), n = c.items();
        const auto part = [&](index_t i, index_t rows, index_t j, index_t cols) {
            f(a.data() + (ta == op::none ? i : i * a.stride()), b.data() + (tb == op::none ? j * b.stride() : j),
              c.data() + i + j * c.stride(), rows, cols);
        };
        const bool by_columns = n >= m, tall = !by_columns && m > most_rows;
        if (!tall && (threads() == 1 || m * n * k < smallest_product)) return part(0, m, 0, n);
        // Along the longer side, whole register blocks each (48: of every vector length, so that an element is computed in
        // the same way whatever the number of threads).
        const index_t length = by_columns ? n : m, parts = each * threads(),
                      even = std::max<index_t>((length + 48 * parts - 1) / (48 * parts), 1) * 48,
                      piece = tall ? std::min(even, most_rows) : even;
        const index_t cost = m * n * k < smallest_product ? 1 : smallest_job;
        parallel((length + piece - 1) / piece, cost, [&](index_t first, index_t last) {
            for (index_t from = first * piece; from < std::min(length, last * piece); from += piece) {
                const index_t count = std::min(piece, length - from);
                by_columns ? part(0, m, from, count) : part(from, count, 0, n);
            }
        });
    }

    // Measured: waking a thread costs a few microseconds, as long as about this many elements take.
    static constexpr index_t smallest_job = 1 << 13;
    static constexpr index_t smallest_product = 1 << 17;
    // The library copies all rows of A before it multiplies, of however many: not more than these at a time.
    static constexpr index_t most_rows = 4080;
    static constexpr index_t dot_block = index_t{1} << 16;

    template <class G>
    void parallel_elements(index_t features, index_t items, const G& g) {
        if (features == 0) return;
        parallel(detail::eigen::blocks_of<T>(features) * items, detail::eigen::lanes<T>,
                 [&](index_t first, index_t last) { detail::eigen::for_rows<T>(features, first, last, g); });
    }
    template <class F, class... S>
    void map_elements(const F& f, const detail::extents& e, const S&... s) {
        parallel_elements(e.features, e.items, [&](index_t i, index_t from, index_t to) {
            detail::eigen::map_row<T>(f, i, from, to, s...);
        });
    }
    template <class U, class W>
    void dot_blocks(const batch_view<U*>& x, const batch_view<W*>& y, index_t blocks, double* out) {
        parallel(blocks * x.items(), std::min(x.features(), dot_block), [&](index_t first, index_t last) {
            for (index_t k = first; k < last; ++k) {
                const index_t i = k / blocks, from = (k - i * blocks) * dot_block;
                out[k] = detail::eigen::dot_row(x.data() + i * x.stride() + from, y.data() + i * y.stride() + from,
                                                std::min(dot_block, x.features() - from));
            }
        });
    }
    template <bool Normal>
    void random(const random_key& key, const batch_view<T*>& y) {
        parallel(y.items(), 8 * y.features(), [&](index_t first, index_t last) {
            for (index_t i = first; i < last; ++i)
                detail::eigen::random_row<Normal>(key, static_cast<std::uint32_t>(i), y.data() + i * y.stride(),
                                                  y.features());
        });
    }

    product_precision products_ = product_precision::float32;
    std::shared_ptr<pool> pool_ = std::make_shared<pool>();
    std::shared_ptr<fft_plans> fft_ = std::make_shared<fft_plans>();
    std::unique_ptr<thread_pool> threads_;  // null: only the caller's
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem
