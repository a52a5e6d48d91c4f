// SPDX-License-Identifier: Apache-2.0
// The order of a sum over ranks, without ranks: what each would push is pushed in its turn.
#include <string>
#include <vector>

#include <diem/parallel/communicator.hpp>
#include <diem/parallel/tree_sum.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

namespace {

static_assert(parallel::Communicator<parallel::self> && parallel::Communicator<parallel::any_communicator>);

constexpr auto join = [](std::string& l, const std::string& r) { l = "(" + l + r + ")"; };

std::string written(index_t parts, int ranks) {
    parallel::tree_sum<std::string> all;
    for (int r = 0; r < ranks; ++r) {
        parallel::tree_sum<std::string> own;
        for (index_t k = parallel::first_of(parts, r, ranks); k < parallel::first_of(parts, r + 1, ranks); ++k)
            own.push({k, 0, std::string(1, static_cast<char>('a' + k))}, join);
        const auto listed =
            parallel::detail::nodes_of(parallel::first_of(parts, r, ranks), parallel::first_of(parts, r + 1, ranks));
        REQUIRE(listed.size() == own.nodes().size());
        for (std::size_t k = 0; k < listed.size(); ++k) {
            CHECK(listed[k].first == own.nodes()[k].index);
            CHECK(listed[k].second == own.nodes()[k].level);
        }
        for (auto& node : own.nodes()) all.push(std::move(node), join);
    }
    return all.total(join);
}

}  // namespace

TEST_CASE("the tree of a sum depends on the number of parts alone") {
    CHECK(written(1, 1) == "a");
    CHECK(written(5, 1) == "(((ab)(cd))e)");
    CHECK(written(7, 1) == "(((ab)(cd))((ef)g))");
    for (index_t parts = 1; parts <= 20; ++parts)
        for (int ranks = 2; ranks <= 24; ++ranks) CHECK(written(parts, ranks) == written(parts, 1));
}

TEST_CASE("shares of ranks are even and leave nothing out") {
    for (index_t count = 0; count <= 12; ++count)
        for (int size = 1; size <= 7; ++size) {
            index_t sum = 0;
            for (int r = 0; r < size; ++r) {
                const index_t n = parallel::first_of(count, r + 1, size) - parallel::first_of(count, r, size);
                CHECK((n == count / size || n == (count + size - 1) / size));
                sum += n;
            }
            CHECK(sum == count);
        }
}

TEMPLATE_TEST_CASE("one rank sums its parts on the backend", "", test::main_backend<float>,
                   test::opaque_backend<float>) {
    TestType b;
    parallel::tree_sum<batch<TestType>> sum;
    const auto add = [&](auto& l, auto& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); };
    const std::vector<float> parts{1e8F, 1, -1e8F, 1, 3};
    for (index_t k = 0; k < 5; ++k)
        sum.push({k, 0, to_backend(b, std::vector<float>{parts[static_cast<std::size_t>(k)]}, 1, 1)}, add);
    batch<TestType> total(b, 1, 1);
    parallel::all_reduce(parallel::self{}, b, sum, 5, total.flat(), "test");
    CHECK(to_host(b, total).front() == ((1e8F + 1) + (-1e8F + 1)) + 3);
}

TEST_CASE("self and any_communicator do nothing, and say what stops them") {
    const parallel::any_communicator c;
    CHECK(c.size() == 1);
    CHECK(c.rank() == 0);
    CHECK(parallel::any_of(c, true, "test"));
    CHECK_FALSE(parallel::any_of(c, false, "test"));
    CHECK_THROWS_AS(c.abort("stopped"), error);
}
