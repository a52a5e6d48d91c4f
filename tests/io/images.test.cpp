// SPDX-License-Identifier: Apache-2.0
#include <diem/io/cifar.hpp>
#include <diem/io/png.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {
/// A record whose channel c, pixel k is (c * 85 + k + first) % 256.
std::string record(int label, int first) {
    std::string bytes(1, static_cast<char>(label));
    for (int c = 0; c < 3; ++c)
        for (int k = 0; k < 1024; ++k) bytes += static_cast<char>((c * 85 + k + first) % 256);
    return bytes;
}
std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t k = 0; k < 4; ++k) value = value << 8 | static_cast<unsigned char>(bytes[at + k]);
    return value;
}
}  // namespace

TEMPLATE_TEST_CASE("cifar: pixels, labels, several files, a limit", "", float, double) {
    using T = TestType;
    const temporary_folder folder;
    write_bytes(folder / "1.bin", record(3, 0) + record(9, 7));
    write_bytes(folder / "2.bin", record(0, 100));
    const auto all = load_cifar10<T>({folder / "1.bin", folder / "2.bin"});
    CHECK(all.images.shape == shape_type{3, 32, 32, 3});
    CHECK(all.images.size() == 3 * 3072);
    CHECK(all.labels.data == std::vector<std::uint8_t>{3, 9, 0});
    CHECK(all.labels.shape == shape_type{3});
    const int firsts[] = {0, 7, 100};
    for (index_t i = 0; i < 3; ++i)
        for (index_t k = 0; k < 1024; ++k)
            for (index_t c = 0; c < 3; ++c) {
                const T expected = static_cast<T>((c * 85 + k + firsts[i]) % 256) * T(4) / T(256) - T(2);
                if (all.images[3072 * i + 3 * k + c] != expected)
                    FAIL("item " << i << " pixel " << k << " channel " << c);
            }
    const auto two = load_cifar10<T>({folder / "1.bin", folder / "2.bin"}, 2);
    CHECK(two.images.shape[0] == 2);
    CHECK(std::equal(two.images.data.begin(), two.images.data.end(), all.images.data.begin()));
    CHECK(load_cifar10<T>({folder / "1.bin", folder / "absent.bin"}, 1).labels.size() == 1);
    CHECK(load_cifar10<T>({folder / "1.bin"}, 0).images.shape == shape_type{0, 32, 32, 3});
}

TEST_CASE("cifar: malformed files") {
    const temporary_folder folder;
    const auto path = folder / "a.bin";
    const std::string whole = record(1, 0) + record(2, 0);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        if (size == 3073 || size == 6146) continue;
        if (size > 40 && size % 97 != 0 && size % 3073 > 2 && size % 3073 < 3071) continue;
        write_bytes(path, whole.substr(0, size));
        const std::string message = message_of<io_error>([&] { (void)load_cifar10<float>({path}); });
        CHECK(contains(message, path.string() + ": offset "));
    }
    write_bytes(path, record(1, 0) + record(10, 0));
    CHECK(contains(message_of<io_error>([&] { (void)load_cifar10<float>({path}); }), "offset 3073: label 10"));
    CHECK_THROWS_AS(load_cifar10<float>({folder / "absent.bin"}), io_error);
    CHECK(cifar10_train_files("d").size() == 5);
    CHECK(cifar10_train_files("d").back() == std::filesystem::path("d/data_batch_5.bin"));
    CHECK(cifar10_test_files("d").front() == std::filesystem::path("d/test_batch.bin"));
}

TEST_CASE("images: pixels and data are inverse") {
    for (int pixel = 0; pixel < 256; ++pixel) {
        const auto byte = static_cast<std::uint8_t>(pixel);
        CHECK(data_to_pixel(pixel_to_data<float>(byte)) == byte);
        CHECK(data_to_pixel(pixel_to_data<double>(byte)) == byte);
    }
    CHECK(data_to_pixel(-1e30F) == 0);
    CHECK(data_to_pixel(1e30F) == 255);
    CHECK(data_to_pixel(2.0) == 255);
    CHECK(data_to_pixel(std::numeric_limits<double>::quiet_NaN()) == 0);
    CHECK(data_to_pixel(std::numeric_limits<float>::infinity()) == 255);
}

TEST_CASE("png: size and colour type in the header, nothing left behind") {
    const temporary_folder folder;
    const auto path = folder / "a.png";
    const int colour_type[] = {0, 4, 2, 6};
    for (index_t channels = 1; channels <= 4; ++channels) {
        array<std::uint8_t> image(shape_type{3, 5, channels});
        for (index_t k = 0; k < image.size(); ++k) image[k] = static_cast<std::uint8_t>(7 * k);
        save_png(path, image);
        const std::string bytes = read_bytes(path);
        CHECK(bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n");
        CHECK(big_endian(bytes, 16) == 5);
        CHECK(big_endian(bytes, 20) == 3);
        CHECK(bytes[24] == 8);
        CHECK(bytes[25] == colour_type[channels - 1]);
    }
    CHECK(folder.entries() == 1);
    for (const shape_type& shape : {shape_type{3, 5}, shape_type{0, 5, 3}, shape_type{3, 0, 3}, shape_type{3, 5, 5},
                                    shape_type{3, 5, 0}, shape_type{}})
        CHECK_THROWS_AS(save_png(path, array<std::uint8_t>(shape)), shape_error);
    CHECK_THROWS_AS(save_png(folder / "no" / "a.png", array<std::uint8_t>(shape_type{1, 1, 1})), io_error);
}
