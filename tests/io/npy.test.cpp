// SPDX-License-Identifier: Apache-2.0
#include <diem/io/npy.hpp>

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {

/// Version 1.0 with this dictionary (padded and ended as NumPy does unless `raw`), then data.
std::string npy_bytes(const std::string& dictionary, const std::string& data, bool raw = false) {
    std::string text = dictionary;
    if (!raw) {
        text.append(118 - 1 - text.size() % 118, ' ');
        text += '\n';
    }
    std::string bytes("\x93NUMPY\x01\0", 8);
    bytes += static_cast<char>(text.size() & 0xFF);
    bytes += static_cast<char>(text.size() >> 8);
    return bytes + text + data;
}
const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

}  // namespace

TEMPLATE_TEST_CASE("npy: what is written is read", "", std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                   std::uint32_t, std::int32_t, std::uint64_t, std::int64_t, float, double, boolean,
                   std::complex<float>, std::complex<double>) {
    using T = TestType;
    const temporary_folder folder;
    for (const shape_type& shape : {shape_type{}, shape_type{0}, shape_type{5}, shape_type{2, 3}, shape_type{3, 0, 2},
                                    shape_type{2, 1, 3, 2}, shape_type(20, 1)}) {
        array<T> written(shape);
        for (std::size_t k = 1; k < written.data.size(); k += 2) written.data[k] = static_cast<T>(1);
        save_npy(folder / "a.npy", written);
        const auto read = load_npy<T>(folder / "a.npy");
        CHECK(read.shape == written.shape);
        CHECK(read.data == written.data);
        CHECK(load_npy_header(folder / "a.npy").offset % 64 == 0);
    }
    CHECK(folder.entries() == 1);
}

TEST_CASE("npy: exact bytes, as NumPy writes them") {
    const temporary_folder folder;
    save_npy(folder / "a.npy", array<std::uint8_t>({2}, {7, 255}));
    const std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
    CHECK(read_bytes(folder / "a.npy") == npy_bytes(text, "\x07\xff"));
}

TEST_CASE("npy: conversions are checked") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    save_npy(path, array<std::uint8_t>({2}, {7, 255}));
    CHECK(load_npy_as<float>(path).data == std::vector<float>{7, 255});
    CHECK(load_npy_as<std::int64_t>(path).data == std::vector<std::int64_t>{7, 255});
    CHECK(contains(message_of<io_error>([&] { (void)load_npy_as<std::int8_t>(path); }), "offset 129"));
    CHECK_THROWS_AS(load_npy<float>(path), io_error);
    CHECK_THROWS_AS(load_npy<boolean>(path), io_error);
    CHECK_THROWS_AS(load_npy_as<std::complex<float>>(path), io_error);
    save_npy(path, array<double>({1}, {0.5}));
    CHECK(load_npy_as<float>(path).data == std::vector<float>{0.5F});
    CHECK_THROWS_AS(load_npy_as<int>(path), io_error);
    save_npy(path, array<std::int32_t>({1}, {-1}));
    CHECK_THROWS_AS(load_npy_as<std::uint64_t>(path), io_error);
    save_npy(path, array<boolean>({2}, {boolean::no, boolean::yes}));
    CHECK(load_npy_as<int>(path).data == std::vector<int>{0, 1});
    write_bytes(path, npy_bytes("{'descr': '<f2', 'fortran_order': False, 'shape': (6,), }",
                                std::string("\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\x7c\x00\x80", 12)));
    const auto half = load_npy_as<float>(path).data;
    CHECK(half == std::vector<float>{1, -2, 0x1p-24F, 65504, std::numeric_limits<float>::infinity(), 0});
    CHECK(std::signbit(half[5]));
}

TEST_CASE("npy: Fortran order and the other byte order") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    // Element (i, j, k) of a (2, 3, 2) array is 100 i + 10 j + k; in Fortran order i runs fastest.
    std::string fortran, big;
    std::vector<std::uint16_t> expected;
    for (int k = 0; k < 2; ++k)
        for (int j = 0; j < 3; ++j)
            for (int i = 0; i < 2; ++i) fortran += {static_cast<char>(100 * i + 10 * j + k), '\0'};
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j)
            for (int k = 0; k < 2; ++k) {
                expected.push_back(static_cast<std::uint16_t>(100 * i + 10 * j + k + 256));
                big += {'\1', static_cast<char>(100 * i + 10 * j + k)};
            }
    write_bytes(path, npy_bytes("{'descr': '>u2', 'fortran_order': False, 'shape': (2, 3, 2), }", big));
    CHECK(load_npy<std::uint16_t>(path).data == expected);
    CHECK(load_npy_as<int>(path).data == std::vector<int>(expected.begin(), expected.end()));
    CHECK(load_npy_header(path).big_endian);
    write_bytes(path, npy_bytes("{'descr': '<u2', 'fortran_order': True, 'shape': (2, 3, 2), }", fortran));
    for (auto& v : expected) v = static_cast<std::uint16_t>(v - 256);
    CHECK(load_npy<std::uint16_t>(path).data == expected);
    CHECK(load_npy_as<double>(path).data == std::vector<double>(expected.begin(), expected.end()));
    CHECK(load_npy_as<double>(path).shape == shape_type{2, 3, 2});
    for (const char* shape : {"(12,)", "(1, 12)", "(12, 1, 1)", "(1, 2, 1, 3, 2)"}) {  // one axis or two that matter
        write_bytes(
            path, npy_bytes(std::string("{'descr': '<u2', 'fortran_order': True, 'shape': ") + shape + ", }", fortran));
        CHECK(load_npy<std::uint16_t>(path).size() == 12);
    }
    write_bytes(path, npy_bytes("{'descr': '<f4', 'fortran_order': True, 'shape': (0, 3), }", ""));
    CHECK(load_npy<float>(path).shape == shape_type{0, 3});
    // big-endian halves and complex numbers, whose parts are reversed each
    write_bytes(path, npy_bytes("{'descr': '>f2', 'fortran_order': False, 'shape': (2,), }",
                                std::string("\x3c\x00\xc0\x00", 4)));
    CHECK(load_npy_as<float>(path).data == std::vector<float>{1, -2});
    write_bytes(path, npy_bytes("{'descr': '>c8', 'fortran_order': False, 'shape': (1,), }",
                                std::string("\x3f\x80\0\0\xc0\0\0\0", 8)));
    CHECK(load_npy<std::complex<float>>(path).data == std::vector<std::complex<float>>{{1, -2}});
}

TEST_CASE("npy: real and complex data are told apart") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const array<std::complex<double>> wide({2, 1}, {{1, 2}, {3, 4}});
    save_npy(path, wide);
    CHECK(load_npy_as<std::complex<float>>(path).data == std::vector<std::complex<float>>{{1, 2}, {3, 4}});
    const auto pairs = load_npy_numbers<float>(path);
    CHECK(pairs.complex);
    CHECK(pairs.values.shape == shape_type{2, 1, 2});
    CHECK(pairs.values.data == std::vector<float>{1, 2, 3, 4});
    CHECK(contains(message_of<io_error>([&] { (void)load_npy_as<float>(path); }),
                   "<c16 holds complex numbers, expected real"));
    CHECK_THROWS_AS(load_npy_as<int>(path), io_error);
    save_npy(path, array<float>({3}, {1, 2, 3}));
    CHECK_FALSE(load_npy_numbers<double>(path).complex);
    CHECK(load_npy_numbers<double>(path).values.shape == shape_type{3});
    CHECK(contains(message_of<io_error>([&] { (void)load_npy_as<std::complex<double>>(path); }),
                   "<f4 holds real numbers, expected complex"));
}

TEST_CASE("npy: a file that is something else is named as that") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const auto named = [&](const std::string& bytes, const std::string& as) {
        write_bytes(path, bytes);
        const std::string message = message_of<io_error>([&] { (void)load_npy<float>(path); });
        INFO(message);
        CHECK(contains(message, path.string()));
        CHECK(contains(message, "not an npy file: it is " + as));
    };
    named("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a git-lfs pointer");
    named("<!DOCTYPE html>\n<html><head>", "an HTML page");
    named("\n <html lang=en>", "an HTML page");
    named(std::string("PK\3\4\x14\0\0\0\0\0", 10) + std::string(20, '\0') + "arr_0.npy", "a NumPy .npz");
    named(std::string("PK\3\4\x14\0\0\0\0\0", 10) + std::string(20, '\0') + "archive/data.pkl", "a PyTorch file");
    named("PK\3\4", "a zip");
    named("\x1f\x8b\x08", "a gzip");
    named("\x89HDF\r\n\x1a\n", "an HDF5 file");
    named("MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file before v7.3");
    named("MATLAB 7.3 MAT-file, Platform: GLNXA64", "a MATLAB v7.3 file");
    named("\x89PNG\r\n\x1a\n", "a PNG image");
    named("\xff\xd8\xff\xe0", "a JPEG image");
    named(std::string("II*\0", 4), "a TIFF image");
    named("SIMPLE  =                    T", "a FITS file");
    named("# Dimensions\n2 3\n", "the header (.hdr) of a BART file");
    named("\x80\x04\x95", "a Python pickle");
    named(std::string("\x40\0\0\0\0\0\0\0{\"a\"", 12), "a safetensors file");
    named("{\"a\": 1}", "a JSON text");
    named("1,2,3\n4,5,6\n", "a text file");
    named(std::string(600, '\0'), "a file of zeros");
    named("", "an empty file");
}

TEST_CASE("npy: complex numbers as pairs") {
    const auto pairs = as_pairs(array<std::complex<float>>({2, 1}, {{1, 2}, {3, 4}}));
    CHECK(pairs.shape == shape_type{2, 1, 2});
    CHECK(pairs.data == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("npy: other versions and spellings that NumPy accepts") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const std::string data(24, '\0');
    for (const std::string text :
         {"{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
          "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3)}",
          "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,)}",
          "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
          "{u'descr': u'<f4', 'fortran_order': False, 'shape': (2l, 3), }",
          "{'descr': np.str_('<f4'), 'fortran_order': np.False_, 'shape': (np.int64(2), 3), }",
          "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3), }",
          "{'descr': 'f4', 'fortran_order': False, 'shape': (2, 3), }",
          "{'descr': '<f4', 'fortran_order': np.bool_(False), 'shape': (2, numpy.int32(3)), }"}) {
        write_bytes(path, npy_bytes(text, data));
        CHECK(load_npy<float>(path).shape == shape_type{2, 3});
        std::string second = npy_bytes(text, data);
        for (const char version : {'\x02', '\x03'}) {
            second[6] = version;
            write_bytes(path, second.substr(0, 10) + std::string(2, '\0') + second.substr(10));
            CHECK(load_npy<float>(path).shape == shape_type{2, 3});
        }
    }
}

TEST_CASE("npy: truncation at every byte, and one byte too many") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const std::string whole = npy_bytes(good, std::string(24, '\1'));
    write_bytes(path, whole);
    CHECK(load_npy<float>(path).shape == shape_type{2, 3});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        write_bytes(path, whole.substr(0, size));
        const std::string message = message_of<io_error>([&] { (void)load_npy<float>(path); });
        CHECK(contains(message, path.string()));
        CHECK(contains(message, "offset "));
    }
    write_bytes(path, whole + '\0');
    CHECK(contains(message_of<io_error>([&] { (void)load_npy<float>(path); }), "has 25"));
    CHECK(contains(message_of<io_error>([&] { (void)load_npy<float>(folder / "absent.npy"); }), "absent.npy"));
    CHECK_THROWS_AS(load_npy<float>(folder.path()), io_error);
}

TEST_CASE("npy: every header field wrong") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const std::string data(24, '\0');
    const auto refused = [&](const std::string& bytes) {
        write_bytes(path, bytes);
        const std::string message = message_of<io_error>([&] { (void)load_npy<float>(path); });
        INFO(bytes.substr(10, 100));
        CHECK(contains(message, path.string() + ": offset "));
    };
    for (const std::string text : {
             "",
             "{",
             "}",
             "{}",
             "[]",
             "{'descr': '<f4'}",
             "{'descr': '<f4', 'fortran_order': False}",
             "{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '|f4', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<U4', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': np.float32, 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (np.int64(2, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (np.int64 2, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (os.int64(2), 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (np.int64(np.int64(2)), 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2LL, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (L, 3), }",
             "{'descr': '<f4 ', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f16', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 4), }",
             "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }",
             "{'descr': '<f4', 'fortran_order': , 'shape': (2, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3], }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': 6, }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3.0), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2,, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (, 2), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'shape': (2, 3), }",
             "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1, }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x",
             "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3), }",
             "{'descr': '<f4, 'fortran_order': False, 'shape': (2, 3), }",
             // sizes that overflow, or that no file can hold
             "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905, 4), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }",
         })
        refused(npy_bytes(text, data));
    std::string axes = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3";
    for (int k = 0; k < 70; ++k) axes += ", 1";
    refused(npy_bytes(axes + ")}", data));
    std::string bytes = npy_bytes(good, data);
    for (const std::size_t at : {0, 1, 2, 3, 4, 5, 6, 7}) {  // magic and version
        std::string changed = bytes;
        changed[at] = '\x7f';
        refused(changed);
    }
    for (const int length : {0, 1, 10, 117, 119, 142, 143, 65535}) {
        std::string changed = bytes;
        changed[8] = static_cast<char>(length & 0xFF);
        changed[9] = static_cast<char>(length >> 8);
        refused(changed);
    }
}

TEST_CASE("npy: any byte of the header changed gives the same array, another shape of its size, or io_error") {
    const temporary_folder folder;
    const auto path = folder / "a.npy";
    const std::string whole = npy_bytes(good, std::string(24, '\1'));
    int read = 0, refused = 0;
    for (std::size_t at = 0; at < 128; ++at)
        for (const char value : {'\0', ' ', '\'', '0', '9', ',', ')', '-', 'x', '\xff'}) {
            std::string changed = whole;
            changed[at] = value;
            write_bytes(path, changed);
            try {
                const index_t size = load_npy<float>(path).size();
                CHECK(size == 6);
                ++read;
            } catch (const io_error&) {
                ++refused;
            }
        }
    CHECK(read > 0);
    CHECK(refused > 300);
    CHECK(read + refused == 1280);
}
