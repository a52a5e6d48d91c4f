// SPDX-License-Identifier: Apache-2.0
#include "diem/results.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <span>
#include <utility>

#include <diem/io/any_array.hpp>
#include <diem/io/kspace.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/hdf5_writer.hpp>
#endif

namespace program {

using namespace diem;
namespace fs = std::filesystem;

namespace {

bool has(const std::vector<std::string>& formats, const char* name) {
    return std::find(formats.begin(), formats.end(), name) != formats.end();
}

}  // namespace

std::vector<std::string> result_files::names() const {
    std::vector<std::string> all, parts{"samples", "mean"};
    if (deviation) parts.emplace_back("std");
    for (const auto& part : parts) {
        if (has(formats, "npy")) all.push_back(part + ".npy");
        if (has(formats, "npy") && complex && part != "std") all.push_back(part + "_magnitude.npy");
        if (has(formats, "cfl")) {
            all.push_back(part + ".cfl");
            all.push_back(part + ".hdr");
        }
    }
    if (has(formats, "hdf5")) all.emplace_back("reconstruction.h5");
    return all;
}
void result_files::check() const {
    for (const auto& format : formats)
        if (format != "npy" && format != "cfl" && format != "hdf5")
            throw value_error("--formats: is \"" + format + "\", expected some of npy, cfl, hdf5");
#if !defined(DIEM_HAS_HDF5)
    if (has(formats, "hdf5")) throw io_error("--formats: hdf5: this build cannot write HDF5");
#endif
}

posterior_results::posterior_results(const std::vector<float>& values, index_t items, index_t count, index_t features,
                                     std::optional<support::image_shape> image, double scale)
    : items_(items), count_(count), features_(features), image_(image) {
    const auto d = static_cast<std::size_t>(features), n = static_cast<std::size_t>(items),
               r = static_cast<std::size_t>(count), width = is_complex(image) ? std::size_t{2} : std::size_t{1};
    samples_.resize(d * n * r);
    mean_.resize(d * n);
    deviation_.resize(count > 1 ? d * n / width : 0);
    std::vector<double> spread(deviation_.size(), 0.0);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < d; ++j) {
            double sum = 0, squares = 0;
            const auto at = [&](std::size_t s) { return static_cast<double>(values[(s * n + i) * d + j]) * scale; };
            for (std::size_t s = 0; s < r; ++s) {
                samples_[(i * r + s) * d + j] = static_cast<float>(at(s));
                sum += at(s);
            }
            const double mean = sum / static_cast<double>(r);
            mean_[i * d + j] = static_cast<float>(mean);
            if (r < 2) continue;
            for (std::size_t s = 0; s < r; ++s) squares += (at(s) - mean) * (at(s) - mean);
            spread[(i * d + j) / width] += squares / static_cast<double>(r - 1);
        }
    for (std::size_t k = 0; k < spread.size(); ++k) deviation_[k] = static_cast<float>(std::sqrt(spread[k]));
}

io::shape_type posterior_results::shape_of_item() const {
    auto shape = shape_of(1, features_, image_);
    shape.erase(shape.begin());
    if (is_complex(image_)) shape.pop_back();
    return shape;
}
io::shape_type posterior_results::shape() const {
    auto shape = shape_of_item();
    shape.insert(shape.begin(), {items_, count_});
    return shape;
}

void posterior_results::save(const fs::path& out, const result_files& files) const {
    if (has(files.formats, "npy")) save_npy(out);
    if (has(files.formats, "cfl")) save_cfl(out);
    if (has(files.formats, "hdf5")) save_hdf5(out);
}

void posterior_results::save_npy(const fs::path& out) const {
    auto one = shape_of_item();
    one.insert(one.begin(), items_);
    const auto write = [&](const char* name, const io::shape_type& shape, const std::vector<float>& values) {
        if (!is_complex(image_))
            return io::save_npy(out / (std::string(name) + ".npy"), shape, std::span<const float>(values));
        const auto numbers = complex_numbers(values, true);
        io::save_npy(out / (std::string(name) + ".npy"), shape, std::span<const std::complex<float>>(numbers));
        const auto magnitudes = magnitudes_of(values);
        io::save_npy(out / (std::string(name) + "_magnitude.npy"), shape, std::span<const float>(magnitudes));
    };
    write("samples", shape(), samples_);
    write("mean", one, mean_);
    if (!deviation_.empty()) io::save_npy(out / "std.npy", one, std::span<const float>(deviation_));
}

void posterior_results::save_cfl(const fs::path& out) const {
    const bool pairs = is_complex(image_), slices = image_ && (pairs || image_->channels == 1);
    const auto write = [&](const char* name, const std::vector<float>& values, index_t count, bool complex) {
        io::array<std::complex<float>> a;
        a.data = complex_numbers(values, complex);
        if (slices) {
            a.shape = {items_ * count, 1, image_->height, image_->width};
            if (count > 1) {  // (items, samples) to (samples, items)
                const index_t size = image_->height * image_->width;
                auto turned = a.data;
                for (index_t i = 0; i < items_; ++i)
                    for (index_t s = 0; s < count; ++s)
                        std::copy_n(a.data.begin() + (i * count + s) * size, size,
                                    turned.begin() + (s * items_ + i) * size);
                a.data = std::move(turned);
            }
            a = io::to_cfl_slices(a, count);
        } else {
            a.shape = shape_of_item();
            a.shape.insert(a.shape.begin(), items_);
            if (count > 1) a.shape.insert(a.shape.begin() + 1, count);
        }
        io::save_cfl(out / name, a);
    };
    write("samples", samples_, count_, pairs);
    write("mean", mean_, 1, pairs);
    if (!deviation_.empty()) write("std", deviation_, 1, false);
}

void posterior_results::save_hdf5([[maybe_unused]] const fs::path& out) const {
#if defined(DIEM_HAS_HDF5)
    auto one = shape_of_item();
    if (one.size() == 3 && one.back() == 1) one.pop_back();
    one.insert(one.begin(), items_);
    auto all = one;
    all.insert(all.begin() + 1, count_);
    io::hdf5_writer file(out / "reconstruction.h5");
    const auto add = [&](const char* name, const io::shape_type& shape, const std::vector<float>& values, bool pairs) {
        const auto numbers = pairs ? magnitudes_of(values) : values;
        file.add(name, shape, std::span<const float>(numbers));
    };
    add("reconstruction", one, mean_, is_complex(image_));
    if (!deviation_.empty()) add("std", one, deviation_, false);
    add("samples", all, samples_, is_complex(image_));
    file.commit();
#endif
}

}  // namespace program
