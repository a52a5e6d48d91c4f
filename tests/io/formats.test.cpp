// SPDX-License-Identifier: Apache-2.0
#include <diem/io/any_array.hpp>
#include <diem/io/ismrmrd_header.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/fastmri.hpp>
#endif

#include <algorithm>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {
array<float> counted(const shape_type& shape) {
    array<float> a(shape);
    for (index_t k = 0; k < a.size(); ++k) a[k] = static_cast<float>(k) * 0.75F - 3;
    return a;
}
std::string refusal(const std::filesystem::path& path) {
    return message_of<io_error>([&] { (void)load_array<float>(path); });
}
/// Every length of a file's bytes, and each of some bytes changed, is read or refused; nothing else happens.
void damaged_are_refused(const std::filesystem::path& good, const std::filesystem::path& bad, bool every_cut = true) {
    const std::string bytes = read_bytes(good);
    int refused = 0, tried = 0;
    const std::size_t step = std::max<std::size_t>(1, bytes.size() / 100);
    for (std::size_t size = 0; size < bytes.size(); size += step, ++tried) {
        write_bytes(bad, bytes.substr(0, size));
        const std::string message = refusal(bad);
        if (message != "nothing thrown") ++refused;
        if (message != "nothing thrown") CHECK(contains(message, bad.string()));
    }
    if (every_cut) CHECK(refused == tried);
    CHECK(refused > 0);
    for (std::size_t at = 0; at < bytes.size(); at += step) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ 0x40);
        write_bytes(bad, changed);
        (void)refusal(bad);
    }
}
}  // namespace

TEST_CASE("cfl: both files, dimensions reversed") {
    const temporary_folder folder;
    array<std::complex<float>> a({4, 1, 3, 2});
    for (index_t k = 0; k < a.size(); ++k) a[k] = {static_cast<float>(k), -static_cast<float>(k)};
    save_cfl(folder / "a", a);
    CHECK(folder.entries() == 2);
    CHECK(contains(read_bytes(folder / "a.hdr"), "# Dimensions\n2 3 1 4 1 1"));
    for (const char* name : {"a", "a.cfl", "a.hdr"}) {
        const auto read = load_cfl(folder / name);
        CHECK(read.shape == a.shape);
        CHECK(read.data == a.data);
    }
    const auto any = load_array<double>(folder / "a.cfl");
    CHECK(any.complex);
    CHECK(any.values.shape == shape_type{4, 1, 3, 2, 2});
    CHECK(any.values[3] == -1);
    const auto turned = swap_last_axes(a);
    CHECK(turned.shape == shape_type{4, 1, 2, 3});
    CHECK(turned[1] == a[2]);
    CHECK(swap_last_axes(turned).data == a.data);
    CHECK_THROWS_AS(save_cfl(folder / "b", array<std::complex<float>>(shape_type(17, 1))), shape_error);
    CHECK_THROWS_AS(save_cfl(folder / "b", array<std::complex<float>>({0, 2})), shape_error);

    const auto header = [&](const std::string& text) {
        write_bytes(folder / "a.hdr", text);
        return message_of<io_error>([&] { (void)load_cfl(folder / "a"); });
    };
    const std::string good = "# Dimensions\n2 3 1 4\n";
    CHECK(header(good) == "nothing thrown");
    CHECK(header("# Creator\nBART 0.8\n" + good + "# Command\nphantom -x 3 7\n# Files\n >a\n") == "nothing thrown");
    CHECK(header("# Dimensions\r\n2 3\t1 4 \r\n") == "nothing thrown");
    for (const std::string text :
         {"", "2 3 1 4\n", "# Dimensions\n", "# Dimensions\n0 3 1 4\n", "# Dimensions\n-2 -3 1 4\n",
          "# Dimensions\n2 3 1 4.0\n", "# Dimensions\n2 3 1 5\n", "# Dimensions\n2 3 x\n",
          "# Dimensions\n99999999999999999999 1\n", "# Dimensions\n4294967296 4294967296 4294967296\n",
          "# Dimensions\n2 3 1 4 1 1 1 1 1 1 1 1 1 1 1 1 1\n", "# Dimensions\n2 3 1 4\n# Dimensions\n2 3 1 4\n"})
        CHECK(contains(header(text), (folder / "a").string() + "."));
    CHECK(contains(header(std::string(2000000, ' ')), "longer than a megabyte"));
    std::filesystem::remove(folder / "a.hdr");
    CHECK(contains(message_of<io_error>([&] { (void)load_cfl(folder / "a.cfl"); }), "a.hdr"));
}

TEST_CASE("ismrmrd header: the sizes that reconstruction needs") {
    const std::string text =
        R"(<?xml version="1.0"?><!-- <encoding> --><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
        <subjectInformation/><encoding><encodedSpace><matrixSize><x>640</x><y> 372 </y><z>1</z></matrixSize></encodedSpace>
        <reconSpace><matrixSize><x>320</x><y>320</y><z>1</z></matrixSize></reconSpace>
        <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>367</maximum><center>184</center>
        </kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>)";
    const auto h = parse_ismrmrd_header(text, "x");
    CHECK(h.encoded[0] == 640);
    CHECK(h.encoded[1] == 372);
    CHECK(h.reconstructed[0] == 320);
    CHECK(h.reconstructed[2] == 1);
    REQUIRE(h.lines);
    CHECK(h.lines->maximum == 367);
    CHECK(h.lines->center == 184);
    CHECK_FALSE(parse_ismrmrd_header("<a></a>", "x").lines);
    for (const std::string bad : {"", "no xml", "<a>", "<a></b>", "<a", "<!-- ", "<></>", "<a><encoding></a>"})
        CHECK_THROWS_AS(parse_ismrmrd_header(bad, "x"), io_error);
    for (const char* number : {"-1", "x", "1.5", "99999999999999999999", "2000000"}) {
        std::string changed = text;
        changed.replace(changed.find("640"), 3, number);
        CHECK(contains(message_of<io_error>([&] { (void)parse_ismrmrd_header(changed, "x"); }), "\"x\" is"));
    }
    CHECK_THROWS_AS(parse_ismrmrd_header(
                        [] {
                            std::string deep;
                            for (int k = 0; k < 100; ++k) deep += "<a>";
                            return deep;
                        }(),
                        "x"),
                    io_error);
}

TEST_CASE("any_array: what is written is read, in every format of this build") {
    WARN("formats of this build: " << array_formats());
    const temporary_folder folder;
    const auto images = counted({3, 4, 5}), colours = counted({2, 4, 5, 3});
    std::vector<std::string> names{"a.npy"};
#if defined(DIEM_HAS_HDF5)
    names.insert(names.end(), {"a.h5", "a.hdf5", "a.h5::kspace", "a.mat", "a.mat::volume"});
#endif
#if defined(DIEM_HAS_FITS)
    names.insert(names.end(), {"a.fits", "a.FIT"});
#endif
#if defined(DIEM_HAS_TIFF)
    names.insert(names.end(), {"a.tif", "a.TIFF"});
#endif
    for (const std::string& name : names) {
        INFO(name);
        for (const auto& values : {images, colours}) {
            save_array(folder / name, {values, false});
            const auto read = load_array<double>(folder / name);
            CHECK_FALSE(read.complex);
            CHECK(read.values.shape == values.shape);
            CHECK(read.values.data == std::vector<double>(values.data.begin(), values.data.end()));
        }
    }
    const auto pairs = counted({3, 4, 2});
    for (const std::string& name : names) {
        INFO(name);
        if (contains(name, "a.f") || contains(name, "a.F") || contains(name, "a.t") || contains(name, "a.T")) {
            CHECK(contains(message_of<io_error>([&] {
                               save_array(folder / name, {pairs, true});
                           }),
                           "no complex numbers"));
            continue;
        }
        save_array(folder / name, {pairs, true});
        const auto read = load_array<float>(folder / name);
        CHECK(read.complex);
        CHECK(read.values.shape == pairs.shape);
        CHECK(read.values.data == pairs.data);
        CHECK(contains(message_of<io_error>([&] { (void)load_real_array<float>(folder / name); }), "complex"));
    }
    CHECK(contains(message_of<io_error>([&] { save_array(folder / "a.xyz", {images, false}); }), "\".xyz\""));
    write_bytes(folder / "page", "<!DOCTYPE html>");
    CHECK(contains(refusal(folder / "page"), "is an HTML page"));
    write_bytes(folder / "noise", "\x01\x02\x03\x04");
    CHECK(contains(refusal(folder / "noise"), "expected one of: npy"));
}

#if defined(DIEM_HAS_PNG)
TEST_CASE("any_array: a folder of PNGs") {
    const temporary_folder folder;
    array<float> grey({12, 4, 5});
    for (index_t k = 0; k < grey.size(); ++k) grey[k] = static_cast<float>(k % 256);
    save_array(folder / "grey.png", {grey, false}, pixel_range{0, 255});
    const auto read = load_array<float>(folder / "grey.png");
    CHECK(read.values.shape == grey.shape);
    CHECK(read.values.data == grey.data);
    CHECK(load_array<float>(folder / "grey.png" / "000001.png").values.shape == shape_type{1, 4, 5});
    array<float> colour({1, 2, 2, 3}, {-1, 0, 1, 2, 3, 9, -9, std::numeric_limits<float>::quiet_NaN(), 1, 1, 1, 1});
    save_array(folder / "colour.png", {colour, false}, pixel_range{0, 2});
    CHECK(load_array<float>(folder / "colour.png").values.data ==
          std::vector<float>{0, 0, 128, 255, 255, 255, 0, 0, 128, 128, 128, 128});
    CHECK_THROWS_AS(save_array(folder / "b.png", {grey, false}), io_error);
    save_png(folder / "grey.png" / "x.png", array<std::uint8_t>(shape_type{4, 6, 1}));
    CHECK(contains(refusal(folder / "grey.png"), "x.png: is [4, 6, 1]"));
    std::filesystem::create_directory(folder / "order");
    for (int k : {1, 2, 10})
        save_png(folder / "order" / ("i" + std::to_string(k) + ".png"),
                 array<std::uint8_t>({1, 1, 1}, {static_cast<std::uint8_t>(k)}));
    CHECK(load_png_stack(folder / "order").data == std::vector<float>{1, 2, 10});
    std::filesystem::create_directory(folder / "none");
    CHECK(contains(refusal(folder / "none"), "holds no .png"));
    damaged_are_refused(folder / "colour.png" / "000000.png", folder / "bad", false);
}
#endif

#if defined(DIEM_HAS_HDF5)
TEST_CASE("hdf5: several data sets, wrong ones, damage") {
    const temporary_folder folder;
    const auto path = folder / "a.h5";
    const auto a = counted({2, 3}), b = counted({4});
    {
        io::hdf5_writer out(path);
        out.add("a", a.shape, std::span<const float>(a.data));
        out.add("b", b.shape, std::span<const float>(b.data));
        CHECK_FALSE(std::filesystem::exists(path));
        out.commit();
    }
    CHECK(folder.entries() == 1);
    CHECK(load_array<float>(path.string() + "::b").values.data == b.data);
    CHECK(contains(refusal(path), "several data sets; say which, after the file's name and two colons: a, b"));
    CHECK(contains(refusal(path.string() + "::c"), "\"c\": is not there; the file has a, b"));
    const io::detail::hdf5_file file(path);
    CHECK(file.read<float>("a", 1, 1).data == std::vector<float>(a.data.begin() + 3, a.data.end()));
    CHECK_THROWS_AS(file.read<float>("a", 1, 2), io_error);
    CHECK_THROWS_AS(file.read<std::complex<float>>("a"), io_error);
    save_array(path, {a, false});
    damaged_are_refused(path, folder / "bad", false);
    CHECK_THROWS_AS(fastmri_file(path), io_error);
}

TEST_CASE("fastmri: k-space slice by slice, mask, padding, header, reconstruction") {
    const temporary_folder folder;
    const auto path = folder / "volume.h5";
    array<std::complex<float>> kspace({3, 2, 4, 8});
    for (index_t k = 0; k < kspace.size(); ++k) kspace[k] = {static_cast<float>(k + 1), 1};
    const std::vector<float> mask{1, 1, 0, 1, 1, 0, 1, 1};
    const auto images = counted({3, 2, 2});
    const auto write = [&](const shape_type& shape) {
        io::hdf5_writer out(path);
        out.add("kspace", shape, std::span<const std::complex<float>>(kspace.data));
        out.add("mask", {8}, std::span<const float>(mask));
        out.add("reconstruction_rss", images.shape, std::span<const float>(images.data));
        out.text_attribute("", "acquisition", "AXT2");
        out.commit();
    };
    write(kspace.shape);
    const fastmri_file file(path);
    CHECK(file.slices == 3);
    CHECK(file.coils == 2);
    CHECK(file.height == 4);
    CHECK(file.width == 8);
    CHECK(file.multicoil);
    CHECK(file.acquisition == "AXT2");
    CHECK_FALSE(file.acceleration);
    CHECK(file.measured == std::vector<std::uint8_t>{1, 1, 0, 1, 1, 0, 1, 1});
    const auto k = file.kspace(1);
    CHECK(k.shape == shape_type{2, 4, 8});
    CHECK(k[0] == kspace[64]);
    CHECK(k[2] == std::complex<float>(0));
    CHECK(k[63] == kspace[127]);
    CHECK(file.reconstruction(2).data == std::vector<float>(images.data.begin() + 8, images.data.end()));
    CHECK_THROWS_AS(file.kspace(3), io_error);
    CHECK_THROWS_AS(file.kspace(-1), io_error);
    write({6, 4, 8});
    const fastmri_file single(path);
    CHECK(single.slices == 6);
    CHECK_FALSE(single.multicoil);
    CHECK(single.kspace(5).shape == shape_type{1, 4, 8});
    write({3, 8, 8});
    CHECK(fastmri_file(path).height == 8);
    write({3, 2, 8, 4});
    CHECK(contains(message_of<io_error>([&] { fastmri_file f(path); }), "\"mask\": has shape [8]"));
    write({24, 8});
    CHECK(contains(message_of<io_error>([&] { fastmri_file f(path); }), "\"kspace\": has shape [24, 8]"));
    save_fastmri_reconstruction(folder / "r.h5", images);
    CHECK(load_array<float>((folder / "r.h5").string() + "::reconstruction").values.shape == images.shape);
    CHECK_THROWS_AS(save_fastmri_reconstruction(folder / "r.h5", counted({2, 2})), shape_error);
}
#endif

TEST_CASE("FILE::NAME is of files that hold several arrays") {
    const temporary_folder folder;
    for (const char* name : {"a.npy", "a.cfl"}) {
        save_array(folder / name, {counted({2, 3}), false});
        const std::string part = (folder / name).string() + "::part";
        CHECK(contains(refusal(part), "\"::part\" names an array"));
        CHECK(contains(message_of<io_error>([&] { save_array(part, {counted({2}), false}); }), "\"::part\""));
    }
}

#if defined(DIEM_HAS_FITS)
TEST_CASE("fits: FILE::NAME is an extension, by name or number") {
    const temporary_folder folder;
    save_fits(folder / "a.fits", array<float>({2}, {1, 2}));
    save_fits(folder / "b.fits", array<float>({3}, {3, 4, 5}));
    // the second file's image as an extension of the first
    std::string more = read_bytes(folder / "b.fits");
    const auto card = [](std::string text) { return text.append(80 - text.size(), ' '); };
    more.replace(0, 80, card("XTENSION= 'IMAGE   '"));
    const auto at = more.find("EXTEND  =");
    REQUIRE(at != std::string::npos);
    more.replace(at, 80, card("PCOUNT  =                    0"));
    const auto end = more.find("END     ");
    REQUIRE(end != std::string::npos);
    more.replace(end, 240, card("GCOUNT  =                    1") + card("EXTNAME = 'ERR     '") + card("END"));
    write_bytes(folder / "c.fits", read_bytes(folder / "a.fits") + more);
    const auto load = [&](const std::string& name) {
        return load_array<float>((folder / "c.fits").string() + name).values.data;
    };
    CHECK(load("") == std::vector<float>{1, 2});
    CHECK(load("::0") == std::vector<float>{1, 2});
    CHECK(load("::1") == std::vector<float>{3, 4, 5});
    CHECK(load("::ERR") == std::vector<float>{3, 4, 5});
    CHECK(load("::err") == std::vector<float>{3, 4, 5});
    for (const char* none : {"::DQ", "::2", "::ER", "::-1"})
        CHECK(contains(message_of<io_error>([&] { (void)load(none); }), "it has 0, 1 (ERR)"));
}

TEST_CASE("fits: damage, and no image") {
    const temporary_folder folder;
    save_array(folder / "a.fits", {counted({2, 3}), false});
    CHECK(read_bytes(folder / "a.fits").size() % 2880 == 0);
    save_fits(folder / "b.fits", array<double>({2}, {1, 1e300}));
    CHECK(load_fits<double>(folder / "b.fits").data == std::vector<double>{1, 1e300});
    damaged_are_refused(folder / "a.fits", folder / "bad", false);
    // a header that claims more than the file holds
    std::string bytes = read_bytes(folder / "a.fits");
    const auto at = bytes.find("NAXIS1  =");
    REQUIRE(at != std::string::npos);
    bytes.replace(at + 10, 20, "          1000000000");
    write_bytes(folder / "bad", bytes);
    CHECK(contains(refusal(folder / "bad"), "more than the file holds"));
    write_bytes(folder / "bad", read_bytes(folder / "a.fits").substr(0, 2880 + 23));  // one byte short of 6 floats
    CHECK(contains(refusal(folder / "bad"), "truncated"));
}
#endif

#if defined(DIEM_HAS_TIFF)
TEST_CASE("tiff: a stack that is cut short is no shorter stack") {
    const temporary_folder folder;
    save_array(folder / "a.tif", {counted({5, 3, 4}), false});
    const std::string whole = read_bytes(folder / "a.tif");
    for (std::size_t size = 8; size < whole.size(); ++size) {
        write_bytes(folder / "bad.tif", whole.substr(0, size));
        INFO(size);
        CHECK(contains(refusal(folder / "bad.tif"), "bad.tif"));
    }
}

TEST_CASE("tiff: damage, and shapes that are no images") {
    const temporary_folder folder;
    save_array(folder / "a.tif", {counted({2, 30, 40}), false});
    damaged_are_refused(folder / "a.tif", folder / "bad", false);
    CHECK_THROWS_AS(save_tiff(folder / "b.tif", counted({2, 3})), shape_error);
    CHECK_THROWS_AS(save_tiff(folder / "b.tif", counted({0, 3, 3})), shape_error);
}
#endif
