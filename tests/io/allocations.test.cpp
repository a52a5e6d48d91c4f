// SPDX-License-Identifier: Apache-2.0
// A hostile header must not make a reader allocate more than its file can hold: this program's operator new remembers the
// largest request. What HDF5 allocates for itself is not seen.
#include <diem/io/any_kspace.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <new>
#include <string>
#include <utility>
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
// A damaged size reaches malloc inside HDF5, which is to say no there under AddressSanitizer, too, not to abort; and what HDF5
// holds of a damaged file it does not always free.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }
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

#if defined(DIEM_HAS_HDF5)
namespace {
using io::detail::hdf5_id;

/// An HDF5 file that is written as a hostile hand would.
class hostile_file {
public:
    explicit hostile_file(std::filesystem::path path) : path_(std::move(path)) {
        file_ = hdf5_id(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
        REQUIRE(file_);
    }
    /// Claims `extents`, in pieces along the last axis, `packed` or not, of which one is written, or none.
    template <class T>
    void claim(const char* name, const std::vector<hsize_t>& extents, const hdf5_id& type, const std::vector<T>& there,
               bool packed = false) {
        const hdf5_id space(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose),
            creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose), links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
        H5Pset_create_intermediate_group(links.get(), 1);
        std::vector<hsize_t> start(extents.size(), 0), count(extents.size(), 1), piece(extents.size(), 1);
        count.back() = piece.back() = std::max<hsize_t>(there.size(), 1);
        H5Pset_chunk(creation.get(), static_cast<int>(piece.size()), piece.data());
        if (packed) H5Pset_deflate(creation.get(), 9);
        const hdf5_id set(
            H5Dcreate2(file_.get(), name, type.get(), space.get(), links.get(), creation.get(), H5P_DEFAULT), H5Dclose);
        REQUIRE(set);
        if (there.empty()) return;
        const hdf5_id memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
        H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
        REQUIRE(H5Dwrite(set.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, there.data()) >= 0);
    }
    template <class T>
    void claim(const char* name, const std::vector<hsize_t>& extents, const std::vector<T>& there = {},
               bool packed = false) {
        claim(name, extents, io::detail::hdf5_memory_type<T>(), there, packed);
    }
    /// A text that claims `size` bytes; written only where it has as many.
    void text(const char* name, const std::string& value, std::size_t size) {
        const hdf5_id type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose),
            links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
        H5Tset_size(type.get(), size);
        H5Pset_create_intermediate_group(links.get(), 1);
        const hdf5_id set(H5Dcreate2(file_.get(), name, type.get(), space.get(), links.get(), H5P_DEFAULT, H5P_DEFAULT),
                          H5Dclose);
        REQUIRE(set);
        if (value.size() == size)
            REQUIRE(H5Dwrite(set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, value.data()) >= 0);
    }
    void text(const char* name, const std::string& value) { text(name, value, value.size()); }
    void number(const char* name, double value) {
        const hdf5_id space(H5Screate(H5S_SCALAR), H5Sclose),
            attribute(H5Acreate2(file_.get(), name, H5T_NATIVE_DOUBLE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                      H5Aclose);
        REQUIRE(H5Awrite(attribute.get(), H5T_NATIVE_DOUBLE, &value) >= 0);
    }
    /// Closes it, and sees that reading it as k-space ends with one line that names the file and has `words`, for which nothing
    /// large was allocated.
    void refused(const std::string& words) {
        file_ = {};
        std::string message;
        CHECK(largest_of([&] {
                  try {
                      (void)load_kspace(path_, third_axis::coils);
                  } catch (const io_error& e) {
                      message = e.what();
                      throw;
                  }
              }) <= bound);
        INFO(message);
        CHECK(message.starts_with(path_.string() + ": "));
        CHECK(contains(message, words));
        CHECK_FALSE(contains(message, "\n"));
    }

private:
    std::filesystem::path path_;
    hdf5_id file_;
};

/// An acquisition of one coil and eight samples; its data are those of `samples`.
io::detail::ismrmrd_row row_of(std::vector<float>& samples) {
    io::detail::ismrmrd_row row{};
    row.head.number_of_samples = 8;
    row.head.active_channels = 1;
    row.head.center_sample = 4;
    row.data = {samples.size(), samples.data()};
    return row;
}

const std::string header =
    "<ismrmrdHeader><encoding><encodedSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize></encodedSpace>"
    "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center>"
    "</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>";
}  // namespace

TEST_CASE("allocations: hostile data sets of HDF5") {
    const temporary_folder folder;
    const std::vector<float> some(256, 1);
    const auto file = [&] { return hostile_file(folder / "a.h5"); };
    {  // never written: the file holds nothing of it
        auto f = file();
        f.claim<std::complex<float>>("z", {1 << 10, 1 << 10});
        f.refused("data set \"z\": shape [1024, 1024] is more than the 0 bytes that the file holds of it");
    }
    {  // of many pieces one was
        auto f = file();
        f.claim<std::complex<float>>("z", {1 << 10, 256}, std::vector<std::complex<float>>(256, 1));
        f.refused("data set \"z\": shape [1024, 256] is more than the 2048 bytes that the file holds of it");
    }
    {  // compressed, and more than any compression gains
        auto f = file();
        f.claim<std::complex<float>>("z", {1 << 10, 256}, std::vector<std::complex<float>>(256, 1), true);
        f.refused("data set \"z\": shape [1024, 256] is more than the ");
    }
    {
        auto f = file();
        f.claim<std::complex<float>>("z", {hsize_t{1} << 40, hsize_t{1} << 40, 256});
        f.refused("data set \"z\": shape [1099511627776, 1099511627776, 256] has too many elements");
    }
    // The same of a real array, read as such.
    file().claim<float>("a", {1 << 10, 256}, some);
    CHECK(largest_of([&] { (void)load_array<float>(folder / "a.h5"); }) <= bound);
}

TEST_CASE("allocations: hostile files in fastMRI's layout") {
    const temporary_folder folder;
    const std::vector<std::complex<float>> some(8, 1);
    const auto file = [&] {
        hostile_file f(folder / "a.h5");
        f.claim("kspace", {1, 1, 8}, some);
        return f;
    };
    {
        hostile_file f(folder / "a.h5");
        f.claim("kspace", {100, 32, 64, 8}, some);
        f.refused("data set \"kspace\": shape [100, 32, 64, 8] is more than the 64 bytes");
    }
    {
        auto f = file();
        f.claim<float>("mask", {1 << 20});
        f.refused("data set \"mask\": shape [1048576] is more than the 0 bytes");
    }
    {
        auto f = file();
        f.text("ismrmrd_header", "", std::size_t{1} << 20);
        f.refused("data set \"ismrmrd_header\": is a text longer than the file");
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto& [left, right] :
         std::vector<std::pair<double, double>>{{-1, 4}, {0, 9}, {4, 4}, {6, 2}, {1e300, 2e300}, {nan, 4}, {0, nan}}) {
        auto f = file();
        f.number("padding_left", left);
        f.number("padding_right", right);
        f.refused("padding_left and padding_right are " + std::to_string(left) + " and " + std::to_string(right) +
                  ", \"kspace\" has 8 columns");
    }
    {  // the same by the limits of encoding: 8 / 2 - 1 and one more than the ninth line
        auto f = file();
        std::string text = header;
        text.replace(text.find("<center>4"), 9, "<center>1");
        f.text("ismrmrd_header", text);
        f.refused("padding_left and padding_right are 3.000000 and 11.000000, \"kspace\" has 8 columns");
    }
}

TEST_CASE("allocations: hostile raw data of ISMRMRD") {
    const temporary_folder folder;
    const auto type = io::detail::ismrmrd_row_type(true);
    std::vector<float> samples(2 * 8, 1);
    const auto row = row_of(samples);
    const auto file = [&](hsize_t rows, const std::vector<io::detail::ismrmrd_row>& there) {
        hostile_file f(folder / "raw.h5");
        f.text("dataset/xml", header);
        f.claim("dataset/data", {rows}, type, there);
        return f;
    };
    (void)file(1, {row});
    CHECK(load_ismrmrd(folder / "raw.h5").values.shape == shape_type{1, 1, 8, 8});

    for (const hsize_t rows : {hsize_t{1000}, hsize_t{100000}}) {
        auto f = file(rows, {row});
        f.refused("data set \"dataset/data\": claims " + std::to_string(rows) +
                  " acquisitions, expected 1 or more that the file can hold");
    }
    {  // no more than the file could hold, but not there
        auto f = file(4, {row});
        f.refused("data set \"dataset/data\": acquisition 1: its header says 0 x 0 samples");
    }
    auto large = row;
    large.head.number_of_samples = large.head.active_channels = 65535;
    {
        auto f = file(1, {large});
        f.refused("data set \"dataset/data\": claims more samples than the file can hold");
    }
    {
        auto few = row;
        few.data.len = 14;
        auto f = file(1, {few});
        f.refused("data set \"dataset/data\": acquisition 0: 7 samples, its header says 1 x 8");
    }
}

TEST_CASE("allocations: a scanner's file that is damaged is read or refused") {
    const temporary_folder folder;
    const auto bad = folder / "bad.h5";
    {
        hostile_file f(folder / "fastmri.h5");
        f.claim("kspace", {1, 1, 1, 8}, std::vector<std::complex<float>>(8, 1));
        f.claim("mask", {8}, std::vector<float>(8, 1));
        f.text("ismrmrd_header", header);
        f.number("padding_left", 1);
        f.number("padding_right", 7);
    }
    {
        std::vector<float> samples(2 * 8, 1);
        hostile_file f(folder / "raw.h5");
        f.text("dataset/xml", header);
        f.claim("dataset/data", {1}, io::detail::ismrmrd_row_type(true), std::vector{row_of(samples)});
    }
    // Nothing but a value, or an error of a file or of what is in it, comes of it.
    const auto read = [&](const std::string& bytes) {
        write_bytes(bad, bytes);
        try {
            (void)load_kspace(bad, third_axis::coils);
            return true;
        } catch (const io_error&) {
            return false;
        } catch (const value_error&) {
            return false;
        }
    };
    for (const char* name : {"fastmri.h5", "raw.h5"}) {
        const std::string bytes = read_bytes(folder / name);
        CAPTURE(name);
        index_t refused = 0;
        CHECK(read(bytes));
        const std::size_t step = std::max<std::size_t>(1, bytes.size() / 300);
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            CHECK_FALSE(read(bytes.substr(0, at)));
            for (const char change : {'\x40', '\xff'}) {
                std::string changed = bytes;
                changed[at] = static_cast<char>(changed[at] ^ change);
                refused += read(changed) ? 0 : 1;
            }
        }
        CHECK(refused > 10);
    }
}
#endif
