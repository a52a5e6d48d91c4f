// SPDX-License-Identifier: Apache-2.0
#include <diem/io/safetensors.hpp>

#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {

std::string length_bytes(std::uint64_t length) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes;
}
std::string file_bytes(const std::string& header, const std::string& data) {
    return length_bytes(header.size()) + header + data;
}
const std::string good = R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                         R"("b":{"dtype":"I32","shape":[1],"data_offsets":[16,20]}})";

}  // namespace

TEMPLATE_TEST_CASE("safetensors: what is written is read", "", std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                   std::uint32_t, std::int32_t, std::uint64_t, std::int64_t, float, double, boolean) {
    using T = TestType;
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const array<T> scalar({}, {T(1)}), empty({3, 0}), matrix({2, 2}, {T(0), T(1), T(1), T(0)});
    const array<std::uint8_t> odd({3}, {1, 2, 3});  // would misalign what follows
    safetensors_writer writer;
    writer.metadata("text", "quote \" backslash \\ newline \n \xc3\xa9");
    writer.add("odd", odd);
    writer.add("scalar", scalar);
    writer.add("empty", empty);
    writer.add("a/b.c \"quoted\"", matrix);
    writer.write(path);
    CHECK(folder.entries() == 1);

    safetensors_file file(path);
    CHECK(file.metadata("text") == "quote \" backslash \\ newline \n \xc3\xa9");
    CHECK(file.tensors().size() == 4);
    CHECK(file.read<T>("scalar").shape.empty());
    CHECK(file.read<T>("scalar").data == scalar.data);
    CHECK(file.read<T>("empty").shape == shape_type{3, 0});
    CHECK(file.read<T>("a/b.c \"quoted\"").data == matrix.data);
    CHECK(file.read<std::uint8_t>("odd").data == odd.data);
    for (const auto& [name, tensor] : file.tensors()) CHECK(tensor.offset % info(tensor.type).size == 0);

    std::vector<T> target(4);
    file.read_into("a/b.c \"quoted\"", {2, 2}, std::span(target));
    CHECK(target == matrix.data);
    CHECK_THROWS_AS(file.read_into("a/b.c \"quoted\"", {4}, std::span(target)), io_error);
    CHECK_THROWS_AS(file.read_into("scalar", {}, std::span(target)), io_error);
}

TEST_CASE("safetensors: no tensors at all") {
    const temporary_folder folder;
    safetensors_writer().write(folder / "a.safetensors");
    safetensors_file file(folder / "a.safetensors");
    CHECK(file.tensors().empty());
    CHECK(file.metadata().empty());
}

TEST_CASE("safetensors: names and types asked for in vain") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    write_bytes(path, file_bytes(good, std::string(20, '\1')));
    safetensors_file file(path);
    CHECK(file.metadata("k") == "v");
    CHECK_FALSE(file.contains("c"));
    CHECK(contains(message_of<io_error>([&] { (void)file.read<float>("c"); }), path.string() + ": no tensor \"c\""));
    CHECK(contains(message_of<io_error>([&] { (void)file.metadata("c"); }), "no metadata \"c\""));
    CHECK(contains(message_of<io_error>([&] { (void)file.read<double>("a"); }), "\"a\" is F32, expected F64"));
    CHECK_THROWS_AS(file.read_as<int>("a"), io_error);
    CHECK(file.read_as<double>("a").shape == shape_type{2, 2});
    CHECK(file.read_as<std::int64_t>("b").data == std::vector<std::int64_t>{0x01010101});
    CHECK(contains(message_of<io_error>([&] { (void)file.read_as<std::int8_t>("b"); }), "outside the range"));

    safetensors_writer writer;
    const array<float> x({1}, {1});
    writer.add("x", x);
    CHECK_THROWS_AS(writer.add("x", x), value_error);
    CHECK_THROWS_AS(writer.add("__metadata__", x), value_error);
    CHECK_THROWS_AS(writer.add("y", {2}, std::span<const float>(x.data)), shape_error);
    CHECK_THROWS_AS(writer.add("y", {-1}, std::span<const float>(x.data)), value_error);
    writer.metadata("k", "v");
    CHECK_THROWS_AS(writer.metadata("k", "w"), value_error);
}

TEST_CASE("safetensors: 16-bit floats are widened") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    write_bytes(path, file_bytes(R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                                 R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}})",
                                 std::string("\x00\x3c\x00\x7e\x80\x3f\x40\xc0", 8)));
    safetensors_file file(path);
    const auto half = file.read_as<float>("h").data;
    CHECK(half[0] == 1);
    CHECK(std::isnan(half[1]));
    CHECK(file.read_as<double>("b").data == std::vector<double>{1, -3});
    std::vector<float> target(2);
    file.read_into("b", {2}, std::span(target));
    CHECK(target == std::vector<float>{1, -3});
    std::vector<std::uint16_t> bits(2);
    CHECK_THROWS_AS(file.read_into("b", {2}, std::span(bits)), io_error);
}

TEST_CASE("safetensors: hashes of the tensors") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const array<float> a({2}, {1, 2});
    const array<std::uint8_t> none({0});
    safetensors_writer writer;
    writer.hash_contents();
    writer.add("a", a);
    writer.add("none", none);
    writer.write(path);
    CHECK(safetensors_file(path).verify());
    CHECK(contains(safetensors_file(path).metadata("diem.xxh64"), "\"none\":\"U8:ef46db3751d8e999\""));
    const std::string written = read_bytes(path);
    for (std::size_t bit = 0; bit < 64; ++bit) {
        std::string flipped = written;
        char& byte = flipped[written.size() - 8 + bit / 8];
        byte = static_cast<char>(byte ^ (1 << (bit % 8)));
        write_bytes(path, flipped);
        safetensors_file file(path);
        CHECK(contains(message_of<io_error>([&] { file.verify(); }), path.string() + ": tensor \"a\" is damaged"));
    }
    // another tool's conversion to a narrower type cannot be compared
    std::string converted = written;
    const std::size_t at = converted.find(R"("dtype":"F32","shape":[2])");
    REQUIRE(at != std::string::npos);
    converted.replace(at, 25, R"("dtype":"F16","shape":[4])");
    write_bytes(path, converted);
    safetensors_file file(path);
    CHECK(file.verify());
    CHECK(file.verified("none"));
    CHECK_FALSE(file.verified("a"));
    writer.add("c", a);
    writer.write(path);
    CHECK(safetensors_file(path).verify());
    safetensors_writer plain;
    plain.add("a", a);
    plain.write(path);
    CHECK_FALSE(safetensors_file(path).verify());
}

TEST_CASE("safetensors: hashes of the metadata") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const std::string text = R"({"laps":3,"sigma":"0.5"})";
    safetensors_writer writer;
    writer.hash_contents();
    writer.metadata("state", text);
    writer.write(path);
    CHECK(safetensors_file(path).verify());
    const std::string written = read_bytes(path), escaped = R"({\"laps\":3,\"sigma\":\"0.5\"})";
    const std::size_t at = written.find(escaped);
    REQUIRE(at != std::string::npos);
    int damaged = 0;
    for (std::size_t bit = 0; bit < 7 * escaped.size(); ++bit) {  // others are no UTF-8
        std::string flipped = written;
        char& byte = flipped[at + bit / 7];
        byte = static_cast<char>(byte ^ (1 << (bit % 7)));
        write_bytes(path, flipped);
        const std::string said = message_of<io_error>([&] { safetensors_file(path).verify(); });
        CHECK(contains(said, path.string()));
        damaged += contains(said, "metadata \"state\" is damaged") ? 1 : 0;
    }
    CHECK(damaged >= 100);  // in the others the header is no JSON
    std::string renamed = written;
    renamed.replace(written.find("\"state\":\""), 8, "\"stage\":");
    write_bytes(path, renamed);
    CHECK(contains(message_of<io_error>([&] { safetensors_file(path).verify(); }), "no metadata \"state\""));
}

TEST_CASE("safetensors: what other tools add does no harm") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const auto header = [](const std::string& entry, int last) {
        return R"({"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"layout":{"x":[1]}},"o":)" +
               entry + "[4," + std::to_string(last) + "]}}";
    };
    struct added {
        std::string dtype, shape;
        int bytes;
    };
    for (const auto& [type, shape, bytes] : {added{"F8_E5M2", "[3]", 3},
                                             {"F8_E4M3", "[3]", 3},
                                             {"F8_E8M0", "[2,2]", 4},
                                             {"F8_E4M3FNUZ", "[0]", 0},
                                             {"F8_E5M2FNUZ", "[]", 1},
                                             {"F4", "[2,3]", 3},
                                             {"F6_E2M3", "[4]", 3},
                                             {"F6_E3M2", "[8]", 6}}) {
        INFO(type);
        write_bytes(
            path, file_bytes(header("{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":", 4 + bytes),
                             std::string(static_cast<std::size_t>(4 + bytes), '\0')));
        safetensors_file file(path);
        CHECK(file.metadata().empty());
        CHECK(file.read<float>("a").data == std::vector<float>{0});
        CHECK(
            contains(message_of<io_error>([&] { (void)file.read_as<float>("o"); }), "\"o\" is " + type + ", expected"));
        CHECK_THROWS_AS(file.read<float>("o"), io_error);
    }
    write_bytes(path, file_bytes(header(R"({"dtype":"C64","shape":[1],"data_offsets":)", 12), std::string(12, '\0')));
    safetensors_file file(path);
    CHECK(file.read<std::complex<float>>("o").data == std::vector<std::complex<float>>{{0, 0}});
    CHECK(file.read_as<std::complex<double>>("o").size() == 1);
    CHECK(
        contains(message_of<io_error>([&] { (void)file.read_as<float>("o"); }), "\"o\" is C64, expected real numbers"));
}

TEST_CASE("safetensors: a file that is something else is named as that") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const auto named = [&](const std::string& bytes, const std::string& as) {
        write_bytes(path, bytes);
        const std::string message = message_of<io_error>([&] { (void)safetensors_file(path); });
        INFO(message);
        CHECK(contains(message, path.string()));
        CHECK(contains(message, as));
    };
    named("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "it is a git-lfs pointer");
    named("<!DOCTYPE html>\n<html><head>", "it is an HTML page");
    named(std::string("PK\3\4\x14\0\0\0\0\0", 10) + std::string(20, '\0') + "archive/data.pkl", "it is a PyTorch file");
    named(std::string("PK\3\4\x14\0\0\0\0\0", 10) + std::string(20, '\0') + "arr_0.npy", "it is a NumPy .npz");
    named(std::string("\x93NUMPY\1\0\x76\0{'descr'", 18), "it is an npy file");
    named("\x1f\x8b\x08\0\0\0\0\0\0\3abc", "it is a gzip");
    named("\x89HDF\r\n\x1a\n", "it is an HDF5 file");
    named("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", "it is a Python pickle");
    named("{\"learned\": true}", "it is a JSON text");
    named("PK", "not a safetensors file");
    named(std::string(600, '\0'), "it is a file of zeros");
    named("\x01\x02\x03\x04\x05\x06\x07\x08 random bytes \xff", "its header would have");
}

TEST_CASE("safetensors: truncation at every byte, and one byte too many") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const std::string whole = file_bytes(good, std::string(20, '\1'));
    write_bytes(path, whole);
    CHECK(safetensors_file(path).tensors().size() == 2);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        write_bytes(path, whole.substr(0, size));
        const std::string message = message_of<io_error>([&] { (void)safetensors_file(path); });
        CHECK(contains(message, path.string() + ": offset "));
    }
    write_bytes(path, whole + '\0');
    CHECK(contains(message_of<io_error>([&] { (void)safetensors_file(path); }), "1 bytes belong to no tensor"));
}

TEST_CASE("safetensors: every header field wrong") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const std::string data(20, '\0');
    const auto refused = [&](const std::string& bytes, const std::string& part) {
        write_bytes(path, bytes);
        const std::string message = message_of<io_error>([&] { (void)safetensors_file(path); });
        INFO(bytes.substr(8, 120));
        INFO(message);
        CHECK(contains(message, path.string()));
        CHECK(contains(message, "offset "));
        CHECK(contains(message, part));
    };
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string header = good;
        const std::size_t at = header.find(from);
        REQUIRE(at != std::string::npos);
        return file_bytes(header.replace(at, from.size(), to), data);
    };
    // the length
    const std::string whole = file_bytes(good, data);
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{1}, good.size() - 1, good.size() + 1, whole.size() - 8, whole.size() - 7,
          std::uint64_t{100'000'001}, ~std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0} - 7})
        refused(length_bytes(length) + whole.substr(8), "");
    // no JSON object of the format
    for (const std::string header : {"", " {}", "[]", "null", "1", "{", "{}}", "{\"a\":", "{\"a\":1}", "{\"a\":[]}",
                                     "{\"a\":{}}", "{\"a\":null}", "{\"\xff\":{}}", "{'a':1}", "{/**/}"})
        refused(file_bytes(header, ""), "");
    refused(file_bytes(std::string(100000, '['), ""), "");
    refused(file_bytes("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", ""), "deep");
    // metadata
    refused(with(R"({"k":"v"})", "1"), "__metadata__");
    refused(with(R"({"k":"v"})", R"({"k":1})"), "__metadata__");
    refused(with(R"({"k":"v"})", R"({"k":"v","k":"v"})"), "twice");
    // names
    refused(with(R"("b":)", R"("a":)"), "\"a\" occurs twice");
    refused(with(R"("dtype":"I32")", R"("dtype":"I32","dtype":"I32")"), "twice");
    // dtype
    for (const char* dtype : {R"("")", R"("F33")", R"("f32")", "32", "null", R"("F8")", R"(["F32"])"})
        refused(with(R"("F32")", dtype), "tensor \"a\": unknown dtype");
    refused(with(R"("F32")", R"("F64")"), "needs 32 bytes");
    refused(with(R"("dtype":"F32",)", ""), "expected an object of");
    refused(with(R"("dtype":"F32",)", R"("Dtype":"F32",)"), "expected an object of");
    // sizes of types that are skipped over: 4 elements of 16 bytes
    refused(with(R"("F32")", R"("F8_E5M2")"), "needs 4 bytes");
    refused(with(R"("F32")", R"("F4")"), "needs 2 bytes");
    refused(with(R"("F32")", R"("C64")"), "needs 32 bytes");
    refused(with(R"("F32","shape":[2,2])", R"("F4","shape":[31])"), "no whole number of bytes");
    refused(with(R"("F32","shape":[2,2])", R"("F6_E2M3","shape":[21])"), "no whole number of bytes");
    // shape
    for (const char* shape : {"[-2,-2]", "[2,-2]", "[2.0,2]", "[\"2\",2]", "4", "null", "[1e1]",
                              "[18446744073709551615]", "[9223372036854775808,2]", "[99999999999999999999999]"})
        refused(with("[2,2]", shape), "bad shape");
    refused(with("[2,2]", "[[2],2]"), "bad shape");
    for (const char* shape : {"[4294967296,4294967296]", "[4611686018427387905,4]", "[9223372036854775807]",
                              "[2305843009213693952]", "[1152921504606846975]", "[65536,65536,65536,65536]"})
        refused(with("[2,2]", shape), "too many elements");
    for (const char* shape : {"[]", "[5]", "[3]", "[0]", "[1000000000000]", "[144115188075855871]"})
        refused(with("[2,2]", shape), "needs ");
    // offsets
    for (const char* offsets : {"[-16,0]", "[0,-1]", "[0.0,16]", "[0]", "[0,16,16]", "16", "null", "[\"0\",\"16\"]",
                                "[18446744073709551600,18446744073709551615]"})
        refused(with("[0,16]", offsets), "bad data_offsets");
    for (const char* offsets : {"[16,0]", "[0,21]", "[9223372036854775000,9223372036854775016]", "[21,37]"})
        refused(with("[0,16]", offsets), "outside the 20 bytes");
    for (const char* offsets : {"[0,15]", "[0,17]", "[1,16]", "[0,0]"})
        refused(with("[0,16]", offsets), "needs 16 bytes");
    refused(with("[0,16]", "[1,17]"), "gap");
    refused(with("[0,16]", "[4,20]"), "");
    refused(with("[16,20]", "[12,16]"), "overlaps");
    refused(with("[16,20]", "[0,4]"), "");
    refused(with(R"([1],"data_offsets":[16,20])", R"([0],"data_offsets":[16,16])"), "belong to no tensor");
    refused(with(R"([1],"data_offsets":[16,20])", R"([0],"data_offsets":[8,8])"), "");
}

TEST_CASE("safetensors: any byte of the header changed is read consistently or refused") {
    const temporary_folder folder;
    const auto path = folder / "a.safetensors";
    const std::string whole = file_bytes(good, std::string(20, '\1'));
    int read = 0, refused = 0;
    for (std::size_t at = 0; at < 8 + good.size(); ++at)
        for (const char value : {'\0', ' ', '"', '0', '7', ',', '}', '-', 'x', '\xff'}) {
            std::string changed = whole;
            changed[at] = value;
            write_bytes(path, changed);
            try {
                safetensors_file file(path);
                std::uint64_t bytes = 0;
                for (const auto& [name, tensor] : file.tensors()) bytes += tensor.bytes;
                CHECK(bytes == 20);
                ++read;
            } catch (const io_error&) {
                ++refused;
            }
        }
    CHECK(read > 0);
    CHECK(refused > 500);
}
