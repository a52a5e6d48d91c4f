// SPDX-License-Identifier: Apache-2.0
// The expected values are those of Python's xxhash (xxhash.xxh64) for the same bytes.
#include <diem/io/content_hash.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace diem;
using namespace diem::io;

namespace {
std::vector<std::uint8_t> sequence(std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * i * 7 + i);
    return bytes;
}
std::string hash_of(const std::vector<std::uint8_t>& bytes) {
    return content_hash().values(std::span<const std::uint8_t>(bytes)).hex();
}
}  // namespace

TEST_CASE("content_hash: XXH64 of known bytes") {
    CHECK(hash_of(sequence(0)) == "ef46db3751d8e999");
    CHECK(hash_of(sequence(1)) == "e934a84adb052768");
    CHECK(hash_of(sequence(3)) == "0a8b0eaaa44d36dc");
    CHECK(hash_of(sequence(4)) == "a52c40dc1e458cb4");
    CHECK(hash_of(sequence(7)) == "a327711b1bc04318");
    CHECK(hash_of(sequence(8)) == "7966fb2834796e77");
    CHECK(hash_of(sequence(31)) == "bdb87f28fde1ec91");
    CHECK(hash_of(sequence(32)) == "70e7f6563e61b260");
    CHECK(hash_of(sequence(33)) == "9dd01335c51ac88f");
    CHECK(hash_of(sequence(63)) == "6a3ef85d3e6d755e");
    CHECK(hash_of(sequence(64)) == "fe8083554c30b401");
    CHECK(hash_of(sequence(100)) == "d52ddaaf21127aa9");
    CHECK(hash_of(sequence(999)) == "753ee4a5e648e442");
    CHECK(hash_of(sequence(1000)) == "ed0b042ef7c8fe40");
    CHECK(hash_of({'a', 'b', 'c'}) == "44bc2cf5ad770999");
    CHECK(content_hash().value() == 0xef46db3751d8e999U);
}

TEST_CASE("content_hash: numbers, arrays and texts") {
    const std::vector<float> floats{1, -2, 0.5F};
    CHECK(content_hash().values(std::span<const float>(floats)).hex() == "9318c6c0bdc6e71a");
    const std::vector<double> doubles{1.5, -0.0};
    CHECK(content_hash().number(1).number(2).values(std::span<const double>(doubles)).hex() == "a1a4d0e3f340ba16");
    CHECK(content_hash().add(array<double>({2}, doubles)).hex() ==
          content_hash().number(1).number(2).values(std::span<const double>(doubles)).hex());
    CHECK(content_hash().add(array<float>({1, 3}, floats)).value() !=
          content_hash().add(array<float>({3, 1}, floats)).value());
    CHECK(content_hash().text("ab").text("c").value() != content_hash().text("a").text("bc").value());
}

TEST_CASE("content_hash: split anywhere, the same") {
    const auto bytes = sequence(200);
    const std::span<const std::uint8_t> all(bytes);
    for (std::size_t first = 0; first <= 200; ++first)
        for (std::size_t second = first; second <= 200; second += 13) {
            content_hash h;
            h.values(all.first(first)).values(all.subspan(first, second - first));
            (void)h.value();  // asking in the middle changes nothing
            CHECK(h.values(all.subspan(second)).hex() == hash_of(bytes));
        }
}
