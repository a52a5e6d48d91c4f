// SPDX-License-Identifier: Apache-2.0
#include <diem/io/any_array.hpp>
#include <diem/io/any_kspace.hpp>
#include <diem/io/array.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/config.hpp>
#include <diem/io/content_hash.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>
#include <diem/io/folder_lock.hpp>
#include <diem/io/ismrmrd_header.hpp>
#include <diem/io/ismrmrd_lines.hpp>
#include <diem/io/json.hpp>
#include <diem/io/kspace.hpp>
#include <diem/io/mapped.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/fastmri.hpp>
#include <diem/io/hdf5_writer.hpp>
#include <diem/io/matlab.hpp>
#endif

#include <complex>
#include <span>
#include <string>
#include <vector>

#include "example.hpp"
#include "support/temporary_folder.hpp"

namespace io = diem::io;

TEST_CASE("io/any_array.hpp") {
    const diem::test::temporary_folder out;
    io::save_npy(out / "y.npy", io::array<float>({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
    // [io/any_array.hpp]
    // npy, BART's cfl, y.h5::kspace, y.mat, y.fits, y.tif, a folder of PNGs, ...: by what the file is.
    const auto y = diem::io::load_real_array<float>(out / "y.npy");
    diem::io::save_array(out / "copy.npy", {y, false});  // by the extension
    // [io/any_array.hpp]
    CHECK(io::load_npy<float>(out / "copy.npy").data == y.data);
}

TEST_CASE("io/any_kspace.hpp") {
    const diem::test::temporary_folder out;
    io::save_cfl(out / "scan",
                 io::array<std::complex<float>>({2, 1, 1, 1, 4, 6}, std::vector<std::complex<float>>(48, {1, 0})));
    io::save_npy(out / "scan.npy",
                 io::array<std::complex<float>>({2, 4, 6}, std::vector<std::complex<float>>(48, {1, 0})));
    // [io/any_kspace.hpp]
    // fastMRI, ISMRMRD, BART, npy, ...: (slices, coils, height, width), and what was measured of it.
    const auto k = diem::io::load_kspace(out / "scan.npy", diem::io::third_axis::coils);
    const double share = diem::io::share_of(k.measured);  // 1: fully sampled
    // [io/any_kspace.hpp]
    CHECK(k.coils() == 2);
    CHECK(k.width() == 6);
    CHECK(share == 1);
}

TEST_CASE("io/array.hpp") {
    backend b(1);
    // [io/array.hpp]
    const diem::io::array<float> images({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});  // two of 2 x 3 pixels
    const auto x = diem::to_backend(b, images.data, images.features(), images.items());       // 6 x 2: the same memory
    const auto last = images[images.size() - 1];                                              // 12
    // [io/array.hpp]
    CHECK(x.features() == 6);
    CHECK(last == 12);
}

TEST_CASE("io/array_place.hpp") {
    // [io/array_place.hpp]
    const auto place = diem::io::place_of("scans/knee.h5::kspace");  // place.path: scans/knee.h5, place.name: kspace
    const auto kind = diem::io::lower_extension("IMAGE.FITS");       // ".fits"
    // [io/array_place.hpp]
    CHECK(place.path == "scans/knee.h5");
    CHECK(place.name == "kspace");
    CHECK(kind == ".fits");
}

TEST_CASE("io/atomic.hpp") {
    const diem::test::temporary_folder out;
    // [io/atomic.hpp]
    diem::io::probe_writable(out / "figures.csv");  // before hours of work: throws where it could not be written
    diem::io::atomic_file file(out / "figures.csv");
    file.write("lap,loss\n");
    file.write("0,0.25\n");
    file.commit();  // there as a whole from now on; without it, nothing is
    // [io/atomic.hpp]
    CHECK(diem::test::read_bytes(out / "figures.csv") == "lap,loss\n0,0.25\n");
}

TEST_CASE("io/cfl.hpp") {
    const diem::test::temporary_folder out;
    // [io/cfl.hpp]
    // BART's file of 8 coils: dimensions "6 4 1 8", READ first, are (8, 1, 4, 6) here.
    const diem::io::array<std::complex<float>> coils({8, 1, 4, 6});
    diem::io::save_cfl(out / "scan", coils);  // scan.cfl and scan.hdr
    const auto k = diem::io::load_cfl(out / "scan.cfl");
    // [io/cfl.hpp]
    CHECK(k.shape == coils.shape);
}

TEST_CASE("io/cifar.hpp") {
    const diem::test::temporary_folder out;
    std::string record(1 + 3072, '\x80');
    record[0] = 7;
    diem::test::write_bytes(out / "test_batch.bin", record + record);
    // [io/cifar.hpp]
    const auto test = diem::io::load_cifar10<float>(diem::io::cifar10_test_files(out.path()), 1000);  // the first 1000
    const auto white = diem::io::data_to_pixel(2.0F);                                                 // 255
    // [io/cifar.hpp]
    CHECK(test.images.shape == io::shape_type{2, 32, 32, 3});
    CHECK(test.images[0] == 0);  // pixel 128
    CHECK(test.labels[1] == 7);
    CHECK(white == 255);
}

TEST_CASE("io/config.hpp") {
    const diem::test::temporary_folder out;
    const auto path = out / "options.json";
    diem::test::write_bytes(path, R"({"rank": 3, "net": {"layers": 2}})");
    struct {
        int rank = 1, layers = 1;
        double sigma_y = 1;
    } options;
    // [io/config.hpp]
    diem::io::read_config(diem::io::load_config(path), [&](diem::io::config_object& c) {
        c.required("rank", options.rank).at_least(1);
        c.optional("sigma_y", options.sigma_y).above(0.0);
        c.object("net", [&](diem::io::config_object& net) { net.optional("layers", options.layers); });
    });  // any other key is an error that names it
    // [io/config.hpp]
    CHECK(options.rank == 3);
    CHECK(options.layers == 2);
    CHECK(options.sigma_y == 1);
}

TEST_CASE("io/content_hash.hpp") {
    // [io/content_hash.hpp]
    const std::vector<float> weights{1, 2, 3};
    const std::string hash = diem::io::content_hash().text("layer").values(std::span(weights)).hex();  // 16 digits
    // [io/content_hash.hpp]
    CHECK(hash.size() == 16);
    CHECK(hash != diem::io::content_hash().text("Layer").values(std::span(weights)).hex());
}

TEST_CASE("io/dtype.hpp") {
    // [io/dtype.hpp]
    constexpr auto type = diem::io::dtype_of<float>();                 // dtype::f32
    constexpr auto name = diem::io::info(type).safetensors;            // "F32"
    constexpr auto bytes = diem::io::info(diem::io::dtype::c64).size;  // 8: pairs of floats
    // [io/dtype.hpp]
    CHECK(name == "F32");
    CHECK(bytes == 8);
}

TEST_CASE("io/file_kind.hpp") {
    const diem::test::temporary_folder out;
    const auto path = out / "weights.safetensors";
    diem::test::write_bytes(path, "<!DOCTYPE html><html>not found</html>");
    // [io/file_kind.hpp]
    const auto kind = diem::io::kind_of(path);          // by its first bytes, whatever its name
    const std::string words(diem::io::describe(kind));  // "an HTML page ..."
    // [io/file_kind.hpp]
    CHECK(kind == io::file_kind::html);
    CHECK(words.find("HTML") != std::string::npos);
}

TEST_CASE("io/folder_lock.hpp") {
    const diem::test::temporary_folder out;
    // [io/folder_lock.hpp]
    const diem::io::folder_lock lock(out.path());  // throws where another process has it, naming that one
    // [io/folder_lock.hpp]
    CHECK(lock.held());
    CHECK_THROWS_AS(io::folder_lock(out.path()), diem::io_error);
}

TEST_CASE("io/ismrmrd_header.hpp") {
    // [io/ismrmrd_header.hpp]
    const auto header = diem::io::parse_ismrmrd_header(
        "<ismrmrdHeader><encoding><encodedSpace><matrixSize><x>640</x><y>372</y><z>1</z></matrixSize></encodedSpace>"
        "</encoding></ismrmrdHeader>",
        "scan.h5");  // header.encoded: 640, 372, 1; `scan.h5` is for messages
    // [io/ismrmrd_header.hpp]
    CHECK(header.encoded[0] == 640);
}

TEST_CASE("io/ismrmrd_lines.hpp") {
    // [io/ismrmrd_lines.hpp]
    diem::io::ismrmrd_header header;
    header.encoded[0] = 8, header.encoded[1] = 6, header.encoded[2] = 1;  // readout, lines of phase encoding
    header.reconstructed[0] = 8, header.reconstructed[1] = 6;
    header.trajectory = "cartesian";
    diem::io::ismrmrd_line line{.samples = 8, .coils = 2, .center = 4, .step_1 = 3, .data = {}};
    line.data.assign(16, {1, 0});
    const auto k = diem::io::sort_cartesian(header, {line}, "scan");  // column 3 is measured, the others are not
    // [io/ismrmrd_lines.hpp]
    CHECK(k.height() == 8);
    CHECK(io::is_measured(k.measured, 0, 0, 3));
    CHECK_FALSE(io::is_measured(k.measured, 0, 0, 2));
}

TEST_CASE("io/json.hpp") {
    const diem::test::temporary_folder out;
    // [io/json.hpp]
    diem::io::save_json(out / "figures.json", {{"psnr", 31.5}, {"laps", 8}});  // atomically
    const auto read = diem::io::load_json(out / "figures.json");
    const auto laps = read.at("laps").get<int>();  // 8
    // [io/json.hpp]
    CHECK(laps == 8);
}

TEST_CASE("io/kspace.hpp") {
    // [io/kspace.hpp]
    diem::io::array<std::complex<float>> k({1, 2, 4, 6});  // one slice of two coils; column 3 alone was measured
    for (diem::index_t at = 3; at < k.size(); at += 6) k[at] = {1, 0};
    const auto measured = diem::io::smallest(diem::io::measured_by_zeros(k));  // (1, 1, 6): 0 0 0 1 0 0
    const double share = diem::io::share_of(measured);                         // 1 / 6
    // [io/kspace.hpp]
    CHECK(measured.shape == io::shape_type{1, 1, 6});
    CHECK(share == about(1.0 / 6));
}

TEST_CASE("io/mapped.hpp") {
    const diem::test::temporary_folder out;
    io::save_npy(out / "y.npy", io::array<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
    // [io/mapped.hpp]
    const auto file = diem::io::map_npy<float>(out / "y.npy");  // pages are read as they are touched
    const diem::host_view<const float> y(file.values.data(), file.shape[1], file.shape[0]);  // features x items
    // [io/mapped.hpp]
    CHECK(y.items() == 2);
    CHECK(y.item_range(1, 1).data()[2] == 6);
}

TEST_CASE("io/npy.hpp") {
    const diem::test::temporary_folder out;
    backend b(1);
    // [io/npy.hpp]
    const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8};
    diem::io::save_npy(out / "x.npy", {2, 4}, std::span(values));                  // as numpy.save of an array of 2 x 4
    const auto file = diem::io::load_npy_as<float>(out / "x.npy");                 // of any real type
    const auto x = diem::to_backend(b, file.data, file.features(), file.items());  // two items of four features
    // [io/npy.hpp]
    CHECK(diem::to_host(b, x) == values);
}

TEST_CASE("io/safetensors.hpp") {
    const diem::test::temporary_folder out;
    // [io/safetensors.hpp]
    const diem::io::array<float> weight({2, 3}, {1, 2, 3, 4, 5, 6});
    diem::io::safetensors_writer writer;
    writer.add("layer.weight", weight);  // refers to it
    writer.hash_contents();
    writer.write(out / "model.safetensors");
    diem::io::safetensors_file file(out / "model.safetensors");
    const auto read = file.read_as<double>("layer.weight");
    // [io/safetensors.hpp]
    CHECK(read.shape == io::shape_type{2, 3});
    CHECK(read[5] == 6);
}

#if defined(DIEM_HAS_PNG)
TEST_CASE("io/png.hpp") {
    const diem::test::temporary_folder out;
    // [io/png.hpp]
    const diem::io::array<float> images({2, 2, 2}, {-2, 2, 0, 0, 2, 2, -2, -2});  // two grey images in [-2, 2]
    diem::io::save_png_stack(out / "pictures", images, -2, 2);                    // pictures/000000.png, ...
    const auto pixels = diem::io::load_png_stack(out / "pictures");               // 0 .. 255
    // [io/png.hpp]
    CHECK(pixels.shape == io::shape_type{2, 2, 2});
    CHECK(pixels[0] == 0);
    CHECK(pixels[1] == 255);
}
#endif

#if defined(DIEM_HAS_TIFF)
TEST_CASE("io/tiff.hpp") {
    const diem::test::temporary_folder out;
    // [io/tiff.hpp]
    const diem::io::array<float> stack({2, 1, 3}, {1, 2, 3, 4, 5, 6});  // two images of 1 x 3 pixels
    diem::io::save_tiff(out / "stack.tif", stack);                      // 32-bit floats
    const auto read = diem::io::load_tiff<float>(out / "stack.tif");    // of any tool, 8 to 64 bits
    // [io/tiff.hpp]
    CHECK(read.data == stack.data);
}
#endif

#if defined(DIEM_HAS_FITS)
TEST_CASE("io/fits.hpp") {
    const diem::test::temporary_folder out;
    // [io/fits.hpp]
    const diem::io::array<float> sky({2, 3}, {1, 2, 3, 4, 5, 6});
    diem::io::save_fits(out / "sky.fits", sky);
    const auto read = diem::io::load_fits<float>(out / "sky.fits");  // or load_fits<float>(path, "SCI"): an extension
    // [io/fits.hpp]
    CHECK(read.shape == sky.shape);
    CHECK(read[5] == 6);
}
#endif

#if defined(DIEM_HAS_HDF5)
TEST_CASE("io/matlab.hpp") {
    const diem::test::temporary_folder out;
    // [io/matlab.hpp]
    const diem::io::array<double> x({2, 3}, {1, 2, 3, 4, 5, 6});
    diem::io::save_matlab(out / "x.mat", "x", x);                        // load x.mat: x is 2 x 3
    const auto read = diem::io::load_matlab<float>(out / "x.mat", "x");  // read.values, and whether it is complex
    // [io/matlab.hpp]
    CHECK(read.values.shape == x.shape);
    CHECK(read.values[1] == 2);
}

TEST_CASE("io/hdf5_writer.hpp") {
    const diem::test::temporary_folder out;
    // [io/hdf5_writer.hpp]
    const std::vector<float> values{1, 2, 3, 4};
    diem::io::hdf5_writer writer(out / "scan.h5");
    writer.add("image", {2, 2}, std::span(values));
    writer.text_attribute("image", "unit", "mT");
    writer.commit();  // there as a whole from now on
    // [io/hdf5_writer.hpp]
    CHECK(io::load_hdf5<float>(out / "scan.h5", "image").values.data == values);
}

TEST_CASE("io/fastmri.hpp") {
    const diem::test::temporary_folder out;
    io::hdf5_writer writer(out / "knee.h5");
    const std::vector<std::complex<float>> values(2 * 3 * 4 * 6, {1, 0});
    writer.add("kspace", {2, 3, 4, 6}, std::span(values));
    writer.commit();
    // [io/fastmri.hpp]
    const diem::io::fastmri_file volume(out / "knee.h5");  // volume.slices, .coils, .height, .width, .measured, ...
    const auto slice = volume.kspace(volume.slices / 2);   // (coils, height, width)
    // [io/fastmri.hpp]
    CHECK(slice.shape == io::shape_type{3, 4, 6});
}
#endif
