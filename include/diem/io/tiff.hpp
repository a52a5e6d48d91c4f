// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs libtiff (Debian: libtiff-dev): <diem/diem.hpp> leaves this header out.

#include <tiffio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>

/// \file
/// TIFF files of one image or a stack of images of one size: (items, height, width) or (items, height, width, channels).
/// \snippet tests/examples/io.cpp io/tiff.hpp

namespace diem::io {

namespace detail {
struct tiff_close {
    void operator()(TIFF* file) const { TIFFClose(file); }
};
using tiff_handle = std::unique_ptr<TIFF, tiff_close>;

/// libtiff prints its messages unless told not to; here the file's name and what was asked for are enough.
class tiff_silence {
public:
    tiff_silence() : error_(TIFFSetErrorHandler(nullptr)), warning_(TIFFSetWarningHandler(nullptr)) {}
    tiff_silence(const tiff_silence&) = delete;
    tiff_silence& operator=(const tiff_silence&) = delete;
    ~tiff_silence() {
        TIFFSetErrorHandler(error_);
        TIFFSetWarningHandler(warning_);
    }

private:
    TIFFErrorHandler error_, warning_;
};

/// What one directory says of its image.
struct tiff_image {
    std::uint32_t width = 0, height = 0;
    std::uint16_t channels = 1, bits = 1, format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG, photometric = 0;
    [[nodiscard]] bool operator==(const tiff_image&) const = default;
};
[[nodiscard]] inline dtype type_of(const tiff_image& i) {
    const bool real = i.format == SAMPLEFORMAT_IEEEFP, is_signed = i.format == SAMPLEFORMAT_INT;
    if (!real && !is_signed && i.format != SAMPLEFORMAT_UINT && i.format != SAMPLEFORMAT_VOID) return dtype::other;
    switch (i.bits) {
        case 8:
            return real ? dtype::other : is_signed ? dtype::i8 : dtype::u8;
        case 16:
            return real ? dtype::f16 : is_signed ? dtype::i16 : dtype::u16;
        case 32:
            return real ? dtype::f32 : is_signed ? dtype::i32 : dtype::u32;
        case 64:
            return real ? dtype::f64 : is_signed ? dtype::i64 : dtype::u64;
        default:
            return dtype::other;
    }
}
/// Whether the file holds the pointer that ends the directory it stands at: libtiff takes one that is cut off for the last.
[[nodiscard]] inline bool directory_is_whole(input_file& input, TIFF* file) {
    const auto number = [&](std::uint64_t at, int bytes) {
        std::uint64_t value = 0;
        const std::string raw = input.read_text(at, static_cast<std::uint64_t>(bytes), "directory");
        for (int k = 0; k < bytes; ++k)
            value |= std::uint64_t{static_cast<unsigned char>(raw[static_cast<std::size_t>(k)])}
                     << 8 * (TIFFIsBigEndian(file) != 0 ? bytes - 1 - k : k);
        return value;
    };
    const bool big = number(2, 2) == 43;  // BigTIFF: wider numbers
    const std::uint64_t at = TIFFCurrentDirOffset(file);
    const std::uint64_t end = at + (big ? 16 + 20 * number(at, 8) : 6 + 12 * number(at, 2));
    return end <= input.size();
}
}  // namespace detail

/// All images of the file, as the numbers they hold. Throws io_error: no TIFF, images of several sizes, bits that are no 8,
/// 16, 32 or 64, palettes, planes apart or tiles, more pixels than the file can hold, a stack that is cut short.
template <class T>
[[nodiscard]] array<T> load_tiff(const std::filesystem::path& path) {
    static_assert(std::is_floating_point_v<T>);
    detail::input_file input(path);
    if (kind_of(input.read_text(0, std::min<std::uint64_t>(input.size(), 512), "first bytes"), input.size()) !=
        file_kind::tiff)
        detail::not_this_kind(input, "a TIFF image");
    const detail::tiff_silence silence;
    const detail::tiff_handle file(TIFFOpen(path.c_str(), "r"));
    if (!file) throw io_error(path.string() + ": is a damaged TIFF file");
    array<T> result;
    detail::tiff_image first;
    index_t items = 0;
    for (bool last = false; !last; ++items) {
        const auto fail = [&](const std::string& what) {
            throw io_error(path.string() + ": image " + std::to_string(items) + ": " + what);
        };
        detail::tiff_image image;
        TIFFGetField(file.get(), TIFFTAG_IMAGEWIDTH, &image.width);
        TIFFGetField(file.get(), TIFFTAG_IMAGELENGTH, &image.height);
        TIFFGetFieldDefaulted(file.get(), TIFFTAG_SAMPLESPERPIXEL, &image.channels);
        TIFFGetFieldDefaulted(file.get(), TIFFTAG_BITSPERSAMPLE, &image.bits);
        TIFFGetFieldDefaulted(file.get(), TIFFTAG_SAMPLEFORMAT, &image.format);
        TIFFGetFieldDefaulted(file.get(), TIFFTAG_PLANARCONFIG, &image.planar);
        TIFFGetField(file.get(), TIFFTAG_PHOTOMETRIC, &image.photometric);
        if (items == 0) first = image;
        if (image != first) fail("has another size or kind than the first one");
        const dtype type = detail::type_of(image);
        if (type == dtype::other)
            fail("holds numbers of " + std::to_string(image.bits) + " bits that are not read here");
        if (image.photometric == PHOTOMETRIC_PALETTE || image.photometric == PHOTOMETRIC_YCBCR)
            fail("has a palette or YCbCr colours; convert it to grey or RGB");
        if ((image.planar != PLANARCONFIG_CONTIG && image.channels > 1) || TIFFIsTiled(file.get()) != 0)
            fail("has tiles or separate planes; convert it to strips");
        const auto row = static_cast<std::uint64_t>(image.width) * image.channels;
        // No codec of TIFF gains more than deflate's factor of 1032 but the fax ones, which hold bits.
        if (image.width == 0 || image.height == 0 || image.channels == 0 ||
            row > input.size() * 1100 / info(type).size / image.height)
            fail("claims " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                 " pixels, more than the file holds");
        if (static_cast<std::uint64_t>(TIFFScanlineSize(file.get())) != row * info(type).size)
            fail("has rows of a size that does not fit its pixels");
        std::vector<std::byte> line(static_cast<std::size_t>(row * info(type).size));
        for (std::uint32_t r = 0; r < image.height; ++r) {
            if (TIFFReadScanline(file.get(), line.data(), r, 0) != 1)
                fail("row " + std::to_string(r) + " cannot be read");
            const std::size_t at = result.data.size();
            result.data.resize(at + static_cast<std::size_t>(row));
            (void)detail::convert<T>(type, line.data(), std::span<T>(result.data).subspan(at));
        }
        last = TIFFLastDirectory(file.get()) != 0;
        if (last ? !detail::directory_is_whole(input, file.get()) : TIFFReadDirectory(file.get()) != 1)
            fail("what follows it cannot be read: the file is cut short, or damaged");
    }
    result.shape = {items, static_cast<index_t>(first.height), static_cast<index_t>(first.width)};
    if (first.channels > 1) result.shape.push_back(first.channels);
    return result;
}

/// Writes a stack (items, height, width) or (items, height, width, channels) of 32-bit floats, atomically, without loss.
/// Throws shape_error, io_error.
inline void save_tiff(const std::filesystem::path& path, const array<float>& images) {
    const shape_type& shape = images.shape;
    check_size("save_tiff", "elements", images.size(), element_count(shape));
    constexpr index_t most = 1 << 30;
    if ((shape.size() != 3 && shape.size() != 4) || images.size() == 0 || shape[1] > most || shape[2] > most ||
        (shape.size() == 4 && shape[3] > 65535))
        throw shape_error("save_tiff: images have shape " + to_string(shape) +
                          ", expected (items, height, width) or (items, height, width, channels)");
    const index_t height = shape[1], width = shape[2], channels = shape.size() == 4 ? shape[3] : 1;
    const bool rgb = channels == 3;
    atomic_file target(path);
    {
        const detail::tiff_silence silence;
        const bool big = images.size() > (index_t{1} << 29);  // 4 GiB of addresses with room to spare
        detail::tiff_handle file(TIFFOpen(target.temporary().c_str(), big ? "w8" : "w"));
        const auto fail = [&] { throw io_error(path.string() + ": cannot be written as TIFF"); };
        if (!file) fail();
        for (index_t i = 0; i < shape[0]; ++i) {
            TIFFSetField(file.get(), TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(width));
            TIFFSetField(file.get(), TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(height));
            TIFFSetField(file.get(), TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(channels));
            TIFFSetField(file.get(), TIFFTAG_BITSPERSAMPLE, 32);
            TIFFSetField(file.get(), TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP);
            TIFFSetField(file.get(), TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
            TIFFSetField(file.get(), TIFFTAG_PHOTOMETRIC, rgb ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
            TIFFSetField(file.get(), TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(file.get(), 0));
            if (!rgb && channels > 1) {
                const std::vector<std::uint16_t> extra(static_cast<std::size_t>(channels - 1), EXTRASAMPLE_UNSPECIFIED);
                TIFFSetField(file.get(), TIFFTAG_EXTRASAMPLES, static_cast<int>(extra.size()), extra.data());
            }
            std::vector<float> line(static_cast<std::size_t>(width * channels));
            for (index_t r = 0; r < height; ++r) {
                std::memcpy(line.data(), images.data.data() + (i * height + r) * width * channels,
                            line.size() * sizeof(float));
                if (TIFFWriteScanline(file.get(), line.data(), static_cast<std::uint32_t>(r), 0) != 1) fail();
            }
            if (TIFFWriteDirectory(file.get()) != 1) fail();
        }
    }
    target.commit();
}

}  // namespace diem::io
