// SPDX-License-Identifier: Apache-2.0
#include <diem/io/any_kspace.hpp>
#include <diem/io/ismrmrd_lines.hpp>

#include <algorithm>
#include <complex>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {

using numbers_type = array<std::complex<float>>;

numbers_type counted(const shape_type& shape) {
    numbers_type a(shape);
    for (index_t k = 0; k < a.size(); ++k) a[k] = {static_cast<float>(k + 1), -static_cast<float>(k)};
    return a;
}
kspace_mask mask_of(const shape_type& shape, std::vector<std::uint8_t> values) { return {shape, std::move(values)}; }

/// 8 x 6 frequencies, 4 x 6 of them an image; lines 0 .. 4, whose centre is 2: columns 1 .. 5.
ismrmrd_header small_header() {
    ismrmrd_header h;
    h.encoded[0] = 8;
    h.encoded[1] = 6;
    h.encoded[2] = 1;
    h.reconstructed[0] = 4;
    h.reconstructed[1] = 6;
    h.lines = {0, 4, 2};
    h.trajectory = "cartesian";
    return h;
}
/// Line `step` of 2 coils; sample s of coil c is (100 step + 10 c + s, slice).
ismrmrd_line line(index_t step, index_t slice = 0) {
    ismrmrd_line l{.samples = 8, .coils = 2, .center = 4, .step_1 = step, .slice = slice, .data = {}};
    for (index_t c = 0; c < 2; ++c)
        for (index_t s = 0; s < 8; ++s)
            l.data.emplace_back(static_cast<float>(100 * step + 10 * c + s), static_cast<float>(slice));
    return l;
}
void flag(ismrmrd_line& l, int n) { l.flags |= std::uint64_t{1} << (n - 1); }
std::complex<float> at(const numbers_type& k, index_t i, index_t c, index_t row, index_t column) {
    return k[((i * k.shape[1] + c) * k.shape[2] + row) * k.shape[3] + column];
}
std::string refusal(const std::function<void(ismrmrd_header&, std::vector<ismrmrd_line>&)>& change) {
    auto header = small_header();
    std::vector<ismrmrd_line> lines{line(0), line(1), line(2)};
    change(header, lines);
    return message_of<io_error>([&] { (void)sort_cartesian(header, lines, "scan"); });
}

}  // namespace

TEST_CASE("kspace: axes of arrays and of BART") {
    CHECK(as_slices(counted({3, 4}), third_axis::coils, "x").shape == shape_type{1, 1, 3, 4});
    CHECK(as_slices(counted({2, 3, 4}), third_axis::coils, "x").shape == shape_type{1, 2, 3, 4});
    CHECK(as_slices(counted({2, 3, 4}), third_axis::slices, "x").shape == shape_type{2, 1, 3, 4});
    CHECK(as_slices(counted({5, 2, 3, 4}), third_axis::slices, "x").shape == shape_type{5, 2, 3, 4});
    for (const shape_type& bad : {shape_type{4}, shape_type{1, 1, 1, 3, 4}, shape_type{0, 3, 4}})
        CHECK(contains(message_of<io_error>([&] { (void)as_slices(numbers_type(bad), third_axis::coils, "x"); }),
                       "x: shape " + to_string(bad)));

    // READ 3, PHS1 4, COIL 2, SLICE 5: READ is the height.
    numbers_type cfl({5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 4, 3});
    for (index_t k = 0; k < cfl.size(); ++k) cfl[k] = static_cast<float>(k);
    const auto slices = cfl_slices(cfl, "x");
    CHECK(slices.shape == shape_type{5, 2, 3, 4});
    CHECK(at(slices, 0, 0, 1, 0) == 1.0F);
    CHECK(at(slices, 0, 0, 0, 1) == 3.0F);
    CHECK(at(slices, 0, 1, 0, 0) == 12.0F);
    CHECK(at(slices, 1, 0, 0, 0) == 24.0F);
    auto back = to_cfl_slices(slices);
    CHECK(back.data == cfl.data);
    CHECK(back.shape == shape_type{1, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 4, 3});
    CHECK(to_cfl_slices(counted({6, 1, 3, 4}), 2).shape[0] == 2);
    CHECK(contains(message_of<io_error>([&] { (void)cfl_slices(counted({2, 1, 4, 3, 1, 1}), "x"); }), "PHS2"));
    CHECK(contains(message_of<io_error>([&] { (void)cfl_slices(counted({2, 1, 1, 4, 3}), "x"); }), "(MAPS) is 2"));
}

TEST_CASE("kspace: what was measured") {
    numbers_type k({2, 2, 2, 3});
    for (index_t i = 0; i < 2; ++i)
        for (const index_t column : {0, 2})
            for (index_t row = 0; row < 2; ++row) k[((i * 2 + 1) * 2 + row) * 3 + column] = {0, 1};
    auto m = measured_by_zeros(k);
    CHECK(m.shape == shape_type{1, 1, 3});
    CHECK(m.data == std::vector<std::uint8_t>{1, 0, 1});
    CHECK(share_of(m) == 2.0 / 3);
    k[((1 * 2 + 0) * 2 + 1) * 3 + 1] = 1;  // one frequency of the second slice
    m = measured_by_zeros(k);
    CHECK(m.shape == shape_type{2, 2, 3});
    CHECK(is_measured(m, 1, 1, 1));
    CHECK_FALSE(is_measured(m, 0, 1, 1));
    const auto both = both_measured(m, mask_of({1, 1, 3}, {0, 1, 1}), "x");
    CHECK(both.shape == shape_type{2, 2, 3});
    CHECK_FALSE(is_measured(both, 1, 1, 0));
    CHECK(is_measured(both, 1, 1, 1));
    CHECK(contains(message_of<io_error>([&] {
                       (void)both_measured(m, mask_of({1, 1, 2}, {1, 1}), "x");
                   }),
                   "[1, 1, 2]"));
    k[0] = {std::numeric_limits<float>::quiet_NaN(), 0};
    clear_unmeasured(k, mask_of({1, 1, 3}, {0, 0, 1}), "x");
    CHECK(k[0] == 0.0F);
    CHECK(at(k, 0, 1, 0, 2) == std::complex<float>(0, 1));
    k[2] = {0, std::numeric_limits<float>::infinity()};
    CHECK(contains(message_of<io_error>([&] { clear_unmeasured(k, mask_of({1, 1, 3}, {0, 0, 1}), "x"); }), "slice 0"));
}

TEST_CASE("kspace: slices are read one at a time") {
    const temporary_folder folder;
    auto k = counted({3, 2, 3, 4});
    for (index_t i = 0; i < 18; ++i) k[4 * i + 3] = 0;  // the last column
    save_npy(folder / "k.npy", k);
    save_cfl(folder / "k.cfl", to_cfl_slices(k));
    array<std::complex<double>> wide(k.shape);
    std::copy(k.data.begin(), k.data.end(), wide.data.begin());
    save_npy(folder / "wide.npy", wide);
    std::vector<std::filesystem::path> files{folder / "k.npy", folder / "k.cfl", folder / "wide.npy"};
#if defined(DIEM_HAS_HDF5)
    save_hdf5(folder / "k.h5", "z", k);
    files.emplace_back((folder / "k.h5").string() + "::z");
#endif
    for (const auto& file : files)
        for (const auto how : {reading::loaded, reading::mapped}) {
            INFO(file.string());
            const auto source = open_kspace(file, third_axis::coils, how);
            CHECK(source.values.shape() == k.shape);
            const auto last = source.values(2), first = source.values(0);
            CHECK(last.shape == shape_type{1, 2, 3, 4});
            CHECK(std::equal(last.data.begin(), last.data.end(), k.data.end() - 24));
            CHECK(std::equal(first.data.begin(), first.data.end(), k.data.begin()));
            CHECK(load(source).values.data == k.data);
            CHECK(source.measured().data == std::vector<std::uint8_t>{1, 1, 1, 0});
            CHECK(source.values.values().empty() == (how == reading::loaded || file != folder / "k.npy"));
        }

    // What a mask leaves as it is stays in the file; else slices are cleared as an array is.
    const auto there = open_kspace(folder / "k.npy", third_axis::coils, reading::mapped).values;
    CHECK(cleared(there, mask_of({1, 1, 4}, {1, 1, 1, 0}), "k").values().data() == there.values().data());
    const auto mask = mask_of({3, 1, 4}, {1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1});
    const auto less = cleared(there, mask, "k");
    auto want = k;
    clear_unmeasured(want, mask, "k");
    CHECK(less.values().empty());
    CHECK(less.all().data == want.data);
    const auto twice = less.changed(3, 4, [](index_t i, array<std::complex<float>> slice) {
        for (auto& v : slice.data) v *= static_cast<float>(i);
        return slice;
    });
    CHECK(twice(1).data == less(1).data);
    CHECK(twice(2)[5] == 2.0F * less(2)[5]);

    k[30] = {std::numeric_limits<float>::infinity(), 0};
    save_npy(folder / "bad.npy", k);
    const auto bad = open_kspace(folder / "bad.npy", third_axis::coils, reading::mapped).values;
    CHECK(bad(0).data == there(0).data);
    CHECK(contains(message_of<io_error>([&] { (void)bad(1); }), "number 30 is not finite"));
    CHECK(contains(message_of<io_error>([&] {
                       (void)cleared(bad, mask_of({1, 1, 4}, {1, 1, 1, 1}), "k");
                   }),
                   "number 30 is not finite"));
}

TEST_CASE("ismrmrd: lines become k-space by their counters and flags") {
    auto header = small_header();
    std::vector<ismrmrd_line> lines{line(0), line(3), line(0, 1)};
    lines[0].phase = 1;  // another image than line 3
    auto k = sort_cartesian(header, lines, "scan");
    CHECK(k.values.shape == shape_type{3, 2, 8, 6});  // (phase, slice): (0, 0), (0, 1), (1, 0)
    CHECK(at(k.values, 0, 1, 5, 4) == std::complex<float>(315, 0));
    CHECK(at(k.values, 1, 0, 2, 1) == std::complex<float>(2, 1));
    CHECK(at(k.values, 2, 0, 2, 1) == std::complex<float>(2, 0));
    CHECK(at(k.values, 2, 0, 2, 4) == 0.0F);
    CHECK(k.measured.shape == shape_type{3, 1, 6});
    CHECK(is_measured(k.measured, 0, 0, 4));
    CHECK_FALSE(is_measured(k.measured, 0, 0, 1));
    CHECK(k.readout == 4);
    CHECK(k.noise.size() == 0);

    SECTION("averages, reversed readouts") {
        lines = {line(0), line(0), line(1), line(1)};
        lines[1].average = lines[3].average = 1;
        for (auto& v : lines[1].data) v += 6.0F;
        flag(lines[2], 22);
        flag(lines[3], 22);
        k = sort_cartesian(header, lines, "scan");
        CHECK(at(k.values, 0, 0, 3, 1) == std::complex<float>(6, 0));
        CHECK(at(k.values, 0, 0, 0, 2) == std::complex<float>(107, 0));
        CHECK(at(k.values, 0, 0, 7, 2) == std::complex<float>(100, 0));
    }
    SECTION("noise, calibration, what is left out") {
        lines = {line(0), line(1), line(2), line(3), line(4)};
        flag(lines[0], 19);
        flag(lines[1], 20);
        flag(lines[2], 21);
        flag(lines[3], 23);
        k = sort_cartesian(header, lines, "scan");
        CHECK(k.noise.shape == shape_type{2, 8});
        CHECK(k.noise[9] == std::complex<float>(11, 0));
        CHECK(k.measured.data == std::vector<std::uint8_t>{0, 0, 0, 1, 0, 1});
        CHECK(at(k.calibration, 0, 0, 0, 2) == std::complex<float>(100, 0));
        CHECK(at(k.calibration, 0, 0, 0, 3) == 0.0F);
        REQUIRE(k.notes.size() == 2);
        CHECK(contains(k.notes[0], "1 lines left out: navigation"));
    }
    SECTION("an asymmetric echo, samples to be discarded") {
        lines = {line(0), line(1)};
        for (auto& l : lines) {
            l.before = 1;
            l.after = 2;
        }
        k = sort_cartesian(header, lines, "scan");
        CHECK(k.readout == 0);
        CHECK(k.measured.shape == shape_type{1, 8, 6});
        CHECK_FALSE(is_measured(k.measured, 0, 0, 1));
        CHECK(is_measured(k.measured, 0, 1, 1));
        CHECK_FALSE(is_measured(k.measured, 0, 6, 1));
        CHECK(at(k.values, 0, 0, 1, 2) == std::complex<float>(101, 0));
    }
    SECTION("readout oversampling by fields of view") {
        header.reconstructed[0] = 8;  // interpolated
        header.encoded_view = 400;
        header.reconstructed_view = 200;
        CHECK(sort_cartesian(header, lines, "scan").readout == 4);
        header.reconstructed_view = 400;
        CHECK(sort_cartesian(header, lines, "scan").readout == 0);
    }
}

TEST_CASE("ismrmrd: what is not read is refused by name") {
    CHECK(refusal([](auto&, auto&) {}) == "nothing thrown");
    CHECK(contains(refusal([](auto& h, auto&) { h.trajectory = "radial"; }), "scan: the trajectory is \"radial\""));
    CHECK(contains(refusal([](auto& h, auto&) { h.encoded[2] = 16; }), "three-dimensional"));
    CHECK(contains(refusal([](auto& h, auto&) { h.encoded[0] = 0; }), "encodedSpace is 0 x 6"));
    CHECK(contains(refusal([](auto& h, auto&) { h.encoded[1] = 65535; }), "64 times what was measured"));
    const auto with = [](auto change) { return refusal([&](auto&, auto& lines) { change(lines[1]); }); };
    CHECK(contains(with([](auto& l) { flag(l, 24); }), "acquisition 1: phase correction"));
    CHECK(contains(with([](auto& l) { flag(l, 53); }), "compressed"));
    CHECK(contains(with([](auto& l) { l.encoding = 1; }), "second encoding"));
    CHECK(contains(with([](auto& l) { l.trajectory = 2; }), "trajectory"));
    CHECK(contains(with([](auto& l) { l.step_2 = 1; }), "kspace_encode_step_2"));
    CHECK(contains(with([](auto& l) { l.step_1 = 5; }), "kspace_encode_step_1 is 5"));
    CHECK(contains(with([](auto& l) { l.step_1 = 0; }), "measured twice"));
    CHECK(contains(with([](auto& l) { l.center = 5; }), "centre at 5"));
    CHECK(contains(with([](auto& l) { l.before = 8; }), "discarded"));
    CHECK(contains(with([](auto& l) { l.data.pop_back(); }), "15 samples, its header says 2 x 8"));
    CHECK(contains(with([](auto& l) {
                       l.coils = 1;
                       l.data.resize(8);
                   }),
                   "1 coils, others have 2"));
    CHECK(contains(refusal([](auto&, auto& lines) {
                       lines.push_back(line(0));
                       lines.back().average = 1;
                   }),
                   "averaged"));
    CHECK(contains(refusal([](auto&, auto& lines) { lines.clear(); }), "no line of an image"));
}

TEST_CASE("any_kspace: arrays, masks and maps") {
    const temporary_folder folder;
    auto k = counted({2, 3, 4});
    for (index_t i = 0; i < 6; ++i) k[4 * i + 3] = 0;
    save_npy(folder / "k.npy", k);
    const auto coils = load_kspace(folder / "k.npy", third_axis::coils);
    CHECK(coils.values.shape == shape_type{1, 2, 3, 4});
    CHECK(coils.measured.data == std::vector<std::uint8_t>{1, 1, 1, 0});
    CHECK(load_kspace(folder / "k.npy", third_axis::slices).values.shape == shape_type{2, 1, 3, 4});
    const auto there = kspace_of(load_array<float>(folder / "k.npy"), third_axis::coils, "given");  // no file
    CHECK(there.values.data == coils.values.data);
    CHECK(there.measured.data == coils.measured.data);
    CHECK(contains(message_of<io_error>([] {
                       (void)kspace_of({array<float>({1, 2}, {1, 2}), false}, third_axis::coils, "given");
                   }),
                   "given: holds real numbers"));
    save_cfl(folder / "k.cfl", to_cfl_slices(coils.values));
    CHECK(load_kspace(folder / "k.cfl", third_axis::slices).values.data == k.data);
    CHECK(load_coil_maps(folder / "k.cfl").shape == shape_type{1, 2, 3, 4});
    save_npy(folder / "m.npy", array<float>({3, 4}, {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
    CHECK(load_kspace_mask(folder / "m.npy").shape == shape_type{1, 3, 4});
    const auto refused = [&](const char* name, const auto& values, const char* words) {
        save_npy(folder / name, values);
        const auto message = message_of<io_error>([&] { (void)load_kspace(folder / name, third_axis::coils); }),
                   of_mask = message_of<io_error>([&] { (void)load_kspace_mask(folder / name); });
        CHECK(contains(message + of_mask, words));
        CHECK(contains(of_mask, (folder / name).string()));
    };
    refused("real.npy", array<float>({2, 2}, {1, 2, 3, 4}), "holds real numbers");
    refused("half.npy", array<float>({2}, {1, 0.5F}), "number 1 is 0.5");
    refused("nan.npy", numbers_type({1, 1}, {{std::numeric_limits<float>::quiet_NaN(), 0}}), "number 0 is not finite");
    refused("five.npy", counted({1, 1, 1, 2, 2}), "shape [1, 1, 1, 2, 2]");
#if defined(DIEM_HAS_HDF5)
    save_hdf5(folder / "k.h5", "z", k);
    CHECK(load_kspace((folder / "k.h5").string() + "::z", third_axis::coils).values.data == k.data);
    CHECK(contains(message_of<io_error>([&] { (void)load_ismrmrd(folder / "k.h5"); }), "\"dataset/xml\""));
#endif
}
