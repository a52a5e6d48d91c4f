// SPDX-License-Identifier: Apache-2.0

// Each capability has a backend that has it, and near-misses that lack one part of it and have not.
#include <diem/backend/capabilities.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

namespace {
using plain = reference_backend<float>;
using rich = eigen_backend<float>;
using row = vector_view<const float*>;
using sum = vector_view<float*>;
using from = batch_view<const float*>;
using to = batch_view<float*>;

static_assert(!FineGrained<plain> && !HostThreaded<plain> && !CacheBlocked<plain> && !BlockThreaded<plain>);
static_assert(!HasConv3x3<plain> && !HasLowRank<plain>);
static_assert(!FineGrained<rich> && HostThreaded<rich> && CacheBlocked<rich> && BlockThreaded<rich>);
static_assert(HasConv3x3<rich> && HasLowRank<rich>);
static_assert(HasLargeBlocks<rich> && !HasLargeBlocks<plain>);

struct large : plain {
    void large_blocks_from(std::size_t, block_source);
    void random_access(from, bool);
};
struct large_without_access : plain {
    void large_blocks_from(std::size_t, block_source);
};
static_assert(HasLargeBlocks<large> && !HasLargeBlocks<large_without_access>);

struct teams : plain {
    using fine_grained_tag = void;
    template <class F, class... Pointers>
    void launch_teams(index_t, index_t, const F&, Pointers...);
};
struct teams_without_the_tag : plain {
    template <class F, class... Pointers>
    void launch_teams(index_t, index_t, const F&, Pointers...);
};
struct tag_without_teams : plain {
    using fine_grained_tag = void;
};
struct teams_without_length : plain {
    using fine_grained_tag = void;
    template <class F>
    void launch_teams(index_t, const F&, float*);
};
static_assert(FineGrained<teams>);
static_assert(!FineGrained<teams_without_the_tag> && !FineGrained<tag_without_teams>);
static_assert(!FineGrained<teams_without_length>);

struct ranges : plain {
    template <class F>
    void parallel(index_t, index_t, const F&);
};
struct ranges_without_cost : plain {
    template <class F>
    void parallel(index_t, const F&);
};
static_assert(HostThreaded<ranges> && !HostThreaded<ranges_without_cost>);

struct caches : plain {
    static constexpr index_t block_elements = 100;
};
struct caches_of_no_number : plain {
    static constexpr const char* block_elements = "many";
};
struct caches_not_static : plain {
    index_t block_elements();
};
static_assert(CacheBlocked<caches> && !CacheBlocked<caches_of_no_number> && !CacheBlocked<caches_not_static>);

struct blocks : plain {
    template <class F>
    void for_blocks(index_t, index_t, const F&);
};
struct blocks_of_one_size : plain {
    template <class F>
    void for_blocks(index_t, const F&);
};
struct blocks_for_functions_of_items : plain {
    void for_blocks(index_t, index_t, void (*)(index_t, index_t));
};
static_assert(BlockThreaded<blocks> && !BlockThreaded<blocks_of_one_size>);
static_assert(!BlockThreaded<blocks_for_functions_of_items>);

template <class Plan>
struct convolving : plain {
    using conv3x3 = Plan;
};
struct convolution {
    convolution(index_t, index_t, index_t, index_t, index_t);
    void forward(plain&, row, row, from, to, bool);
    void vjp(plain&, row, from, to, bool);
    void vjp_params(plain&, from, from, sum, sum, bool);
    void changed();
};
struct of_one_stride : convolution {
    of_one_stride(index_t, index_t, index_t, index_t);
};
struct without_forward : convolution {
    using convolution::convolution;
    void forward(plain&, row, row, from, to, bool) = delete;
};
struct without_vjp : convolution {
    using convolution::convolution;
    void vjp(plain&, row, from, to, bool) = delete;
};
struct without_vjp_params : convolution {
    using convolution::convolution;
    void vjp_params(plain&, from, from, sum, sum, bool) = delete;
};
struct without_changed : convolution {
    using convolution::convolution;
    void changed() = delete;
};
static_assert(HasConv3x3<convolving<convolution>>);
static_assert(!HasConv3x3<convolving<of_one_stride>> && !HasConv3x3<convolving<without_forward>>);
static_assert(!HasConv3x3<convolving<without_vjp>> && !HasConv3x3<convolving<without_vjp_params>>);
static_assert(!HasConv3x3<convolving<without_changed>> && !HasConv3x3<convolving<int>>);

template <class Plan>
struct ranked : plain {
    using low_rank = Plan;
};
struct plan {
    void prepare(plain&, from);
    void project(plain&, from, to) const;
    void expand(plain&, float, row, from, from, to) const;
};
struct without_default : plan {
    explicit without_default(int);
};
struct without_prepare : plan {
    void prepare(plain&, from) = delete;
};
struct projecting_once : plan {
    void project(plain&, from, to);
};
struct without_expand : plan {
    void expand(plain&, float, row, from, from, to) const = delete;
};
static_assert(HasLowRank<ranked<plan>>);
static_assert(!HasLowRank<ranked<without_default>> && !HasLowRank<ranked<without_prepare>>);
static_assert(!HasLowRank<ranked<projecting_once>> && !HasLowRank<ranked<without_expand>> && !HasLowRank<ranked<int>>);
}  // namespace

TEST_CASE("near-misses of what backends may have are refused at compile time", "[backend]") {
    CHECK((HasConv3x3<rich> && HasLowRank<rich>));
}
