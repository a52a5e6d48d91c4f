// SPDX-License-Identifier: Apache-2.0
// A hostile header must not make a reader allocate more than its file can hold: this program's operator new remembers the
// largest request.
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace {
std::size_t largest_request = 0;

void* allocate(std::size_t size) noexcept {
    if (size > largest_request) largest_request = size;
    return std::malloc(size != 0 ? size : 1);
}
}  // namespace

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // free() below is matched with malloc() above
#endif
void* operator new(std::size_t size) {
    if (void* memory = allocate(size)) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {
std::string with_length(const std::string& header, std::uint64_t length, const std::string& data) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + data;
}
/// Largest request while `f` runs, which throws io_error.
template <class F>
std::size_t largest_of(F f) {
    largest_request = 0;
    bool refused = false;
    try {
        f();
    } catch (const io_error&) {
        refused = true;
    }
    const std::size_t largest = largest_request;
    CHECK(refused);
    return largest;
}
constexpr std::size_t bound = 64 * 1024;  // stream buffers, messages
}  // namespace

TEST_CASE("allocations: hostile safetensors headers") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    for (const char* entry : {
             R"({"dtype":"F32","shape":[1000000000],"data_offsets":[0,16]})",
             R"({"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]})",
             R"({"dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]})",
             R"({"dtype":"F64","shape":[2305843009213693952,8],"data_offsets":[0,0]})",
             R"({"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]})",
             R"({"dtype":"F32","shape":[4],"data_offsets":[9223372036854775792,9223372036854775808]})",
             R"({"dtype":"F32","shape":[4],"data_offsets":[-16,0]})",
         }) {
        const std::string header = std::string("{\"a\":") + entry + "}";
        write_bytes(path, with_length(header, header.size(), std::string(16, '\0')));
        CHECK(largest_of([&] { (void)safetensors_file(path).read<float>("a"); }) <= bound);
        CHECK(largest_of([&] { (void)safetensors_file(path).read_as<double>("a"); }) <= bound);
    }
    for (const std::uint64_t length : {std::uint64_t{99'000'000}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
        write_bytes(path, with_length("{}", length, ""));
        CHECK(largest_of([&] { (void)safetensors_file(path); }) <= bound);
    }
}

TEST_CASE("allocations: hostile npy headers") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    for (const char* shape : {"(1000000000,)", "(1000000, 1000000)", "(4294967296, 4294967296)",
                              "(9223372036854775807,)", "(0, 9223372036854775807, 9223372036854775807)"}) {
        std::string text = std::string("{'descr': '<f4', 'fortran_order': False, 'shape': ") + shape + ", }\n";
        write_bytes(path, std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(text.size()) + '\0' + text +
                              "0123456789abcdef");
        CHECK(largest_of([&] { (void)load_npy<float>(path); }) <= bound);
        CHECK(largest_of([&] { (void)load_npy_as<double>(path); }) <= bound);
    }
    for (const char version : {'\2', '\3'}) {  // four bytes of length
        write_bytes(path, std::string("\x93NUMPY") + version + std::string(1, '\0') + "\xff\xff\xff\xff{}");
        CHECK(largest_of([&] { (void)load_npy<float>(path); }) <= bound);
    }
}
