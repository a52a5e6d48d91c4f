// SPDX-License-Identifier: Apache-2.0

// The archetype satisfies the concept; each near-miss lacks one requirement and does not.
#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

static_assert(Backend<test::opaque_backend<float>>);
static_assert(Backend<reference_backend<double>>);
static_assert(Backend<eigen_backend<float>>);
static_assert(!std::is_convertible_v<test::opaque_pointer<float>, float*>);
static_assert(std::is_convertible_v<test::opaque_pointer<float>, test::opaque_pointer<const float>>);
static_assert(!std::is_convertible_v<test::opaque_pointer<const float>, test::opaque_pointer<float>>);

namespace {
template <class P>
concept dereferenceable = requires(P p) { *p; } || requires(P p) { p[0]; };
static_assert(!dereferenceable<test::opaque_pointer<float>>);

using base = reference_backend<float>;
#define NEAR_MISS(name, member)          \
    struct name : base {                 \
        template <class... Args>         \
        void member(Args&&...) = delete; \
    };                                   \
    static_assert(!Backend<name>)
NEAR_MISS(without_copy, copy);
NEAR_MISS(without_upload, upload);
NEAR_MISS(without_download, download);
NEAR_MISS(without_fill, fill);
NEAR_MISS(without_map, map);
NEAR_MISS(without_launch, launch);
NEAR_MISS(without_axpby, axpby);
NEAR_MISS(without_dot, dot);
NEAR_MISS(without_gemm, gemm);
NEAR_MISS(without_gemm_batched, gemm_batched);
NEAR_MISS(without_cholesky, cholesky);
NEAR_MISS(without_trsm, trsm);
NEAR_MISS(without_eigh, eigh);
NEAR_MISS(without_fft2, fft2);
NEAR_MISS(without_fill_normal, fill_normal);
NEAR_MISS(without_fill_uniform, fill_uniform);
NEAR_MISS(without_synchronize, synchronize);
NEAR_MISS(without_threads, threads);
#undef NEAR_MISS
struct integer_scalar : base {
    using scalar = int;
};
static_assert(!Backend<integer_scalar>);
struct without_allocate : base {
    template <class T>
    void allocate(index_t) = delete;
};
static_assert(!Backend<without_allocate>);
static_assert(!Backend<int>);
}  // namespace

TEST_CASE("near-misses of Backend are refused at compile time", "[backend]") { CHECK(Backend<base>); }
