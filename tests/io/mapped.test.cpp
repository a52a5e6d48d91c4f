// SPDX-License-Identifier: Apache-2.0
#include <diem/io/mapped.hpp>

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <diem/backend/capabilities.hpp>
#include <diem/backend/eigen.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

static_assert(HasLargeBlocks<eigen_backend<float>> && !HasLargeBlocks<reference_backend<float>>);

namespace {

template <class T>
std::vector<T> copied(std::span<const T> values) {
    return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("mapped: an npy file has the values that it is loaded with", "[io]") {
    const temporary_folder folder;
    array<float> real({3, 2, 5});
    for (index_t k = 0; k < real.size(); ++k) real[k] = static_cast<float>(k) - 7.25F;
    save_npy(folder / "real.npy", real);
    auto mapped = map_npy<float>(folder / "real.npy");
    CHECK(mapped.shape == real.shape);
    CHECK(copied(mapped.values) == real.data);
    const std::weak_ptr<const void> file = mapped.file;
    mapped = {};
    CHECK(file.expired());

    const array<std::complex<float>> pairs({2}, {{1, 2}, {3, 4}});
    save_npy(folder / "complex.npy", pairs);
    const auto of_pairs = map_npy<float>(folder / "complex.npy");
    CHECK(of_pairs.shape == shape_type{2, 2});
    CHECK(copied(of_pairs.values) == std::vector<float>{1, 2, 3, 4});
    save_npy(folder / "empty.npy", array<float>({0, 4}));
    CHECK(map_npy<float>(folder / "empty.npy").values.empty());
}

TEST_CASE("mapped: what lies otherwise in the file is refused, and a file that is cut short is named", "[io]") {
    const temporary_folder folder;
    save_npy(folder / "wide.npy", array<double>({2}, {1, 2}));
    CHECK_FALSE(can_map<float>(load_npy_header(folder / "wide.npy")));
    CHECK(message_of<io_error>([&] { (void)map_npy<float>(folder / "wide.npy"); }) ==
          (folder / "wide.npy").string() + ": elements are <f8, or in an order that cannot be mapped");
    save_npy(folder / "cut.npy", array<float>({4, 4}));
    const auto whole = read_bytes(folder / "cut.npy");
    write_bytes(folder / "cut.npy", whole.substr(0, whole.size() - 4));
    CHECK_THAT(message_of<io_error>([&] { (void)map_npy<float>(folder / "cut.npy"); }),
               Catch::StartsWith((folder / "cut.npy").string()) && Catch::Contains("needs 64 bytes of data"));
    auto fortran = whole;
    fortran.replace(fortran.find("False"), 5, "True ");
    write_bytes(folder / "fortran.npy", fortran);
    CHECK_FALSE(can_map<float>(load_npy_header(folder / "fortran.npy")));
    auto swapped = whole;
    swapped.replace(swapped.find("<f4"), 1, ">");
    write_bytes(folder / "swapped.npy", swapped);
    CHECK_FALSE(can_map<float>(load_npy_header(folder / "swapped.npy")));
    CHECK_THROWS_AS(map_npy<float>(folder / "none.npy"), io_error);
}

TEST_CASE("mapped: other numbers are converted a piece at a time", "[io]") {
    const temporary_folder folder;
    const index_t n = (index_t{1} << 18) + 3;  // two pieces
    array<std::uint8_t> bytes({n});
    for (index_t k = 0; k < n; ++k) bytes[k] = static_cast<std::uint8_t>(k % 251);
    save_npy(folder / "bytes.npy", bytes);
    std::vector<float> values(static_cast<std::size_t>(n));
    read_npy_into<float>(folder / "bytes.npy", values);
    CHECK(values == load_npy_as<float>(folder / "bytes.npy").data);
    CHECK_THROWS_AS(read_npy_into<float>(folder / "bytes.npy", std::span(values).first(5)), shape_error);

    save_npy(folder / "complex.npy", array<std::complex<double>>({2}, {{1, 2}, {3, 4}}));
    std::vector<float> pairs(4);
    read_npy_into<float>(folder / "complex.npy", pairs);
    CHECK(pairs == std::vector<float>{1, 2, 3, 4});
    save_npy(folder / "order.npy", array<std::uint16_t>({2}, {1, 256}));
    auto text = read_bytes(folder / "order.npy");
    text.replace(text.find("<u2"), 1, ">");
    write_bytes(folder / "order.npy", text);
    read_npy_into<float>(folder / "order.npy", std::span(pairs).first(2));
    CHECK(pairs == std::vector<float>{256, 1, 3, 4});
}

TEST_CASE("mapped: large arrays of a backend lie in files that nobody sees", "[io]") {
    const temporary_folder folder;
    std::size_t taken = 0;
    std::vector<std::weak_ptr<void>> blocks;
    {
        eigen_backend<float> b(1);
        b.large_blocks_from(4096, [&, files = file_blocks(folder.path())](std::size_t bytes) {
            auto block = files(bytes);
            taken += bytes;
            blocks.push_back(block);
            return block;
        });
        const batch<eigen_backend<float>> small(b, 900, 1);
        CHECK(taken == 0);
        const index_t items = 1000, features = 100;
        batch<eigen_backend<float>> large(b, features, items), copy(b, features, items);
        CHECK(taken >= 2 * 4 * static_cast<std::size_t>(items * features));
        CHECK(folder.entries() == 0);
        b.fill_normal(random_key{.seed = 3}, large.view());
        b.random_access(large.cview(), true);
        b.copy(large.cview(), copy.view());
        b.random_access(large.cview().item_range(7, 1), false);
        b.random_access(small.cview(), true);  // no block from elsewhere: nothing to say
        eigen_backend<float> other(1);
        batch<eigen_backend<float>> expected(other, features, items);
        other.fill_normal(random_key{.seed = 3}, expected.view());
        CHECK(to_host(b, copy) == to_host(other, expected));
        const auto before = taken;
        copy = {};
        copy = batch<eigen_backend<float>>(b, features, items);  // given back, and served again
        CHECK(taken == before);
        CHECK_FALSE(blocks.front().expired());
    }
    for (const auto& block : blocks) CHECK(block.expired());
    CHECK(folder.entries() == 0);
}

TEST_CASE("mapped: a folder without room, or that is none, is an error at the start", "[io]") {
    const temporary_folder folder;
    CHECK_THAT(message_of<io_error>([&] { (void)file_blocks(folder / "none")(4096); }),
               Catch::StartsWith((folder / "none").string() + ": cannot keep arrays in files there: No such file"));
    // More than any disk has: no memory of a backend, which says what it was asked for.
    eigen_backend<float> b(1);
    b.large_blocks_from(4096, [](std::size_t) { return std::shared_ptr<void>(); });
    CHECK_THROWS_AS(b.allocate<float>(index_t{1} << 20), memory_error);
    CHECK(folder.entries() == 0);
}
