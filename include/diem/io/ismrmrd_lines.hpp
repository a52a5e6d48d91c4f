// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/ismrmrd_header.hpp>
#include <diem/io/kspace.hpp>

/// \file
/// Lines of k-space as a scanner measures them, sorted: what ISMRMRD's raw data become (S. Inati et al., ISMRM raw data format,
/// 2017). io/ismrmrd.hpp reads them.
/// \snippet tests/examples/io.cpp io/ismrmrd_lines.hpp

namespace diem::io {

/// One acquisition: the samples of one readout in all coils.
struct ismrmrd_line {
    std::uint64_t flags = 0;                                ///< bit n - 1 is flag n
    index_t samples = 0, coils = 0, before = 0, after = 0;  ///< before, after: samples to be discarded
    index_t center = 0;                                     ///< sample in the centre of k-space
    index_t encoding = 0, trajectory = 0;                   ///< its encoding; dimensions of its trajectory
    index_t step_1 = 0, step_2 = 0, average = 0;            ///< counters
    index_t slice = 0, contrast = 0, phase = 0, repetition = 0, set = 0;
    std::vector<std::complex<float>> data;  ///< (coils, samples)
    [[nodiscard]] bool is(int flag) const { return (flags >> (flag - 1) & 1) != 0; }
};

namespace detail {

struct ismrmrd_flag {
    int number;
    const char* name;
};
/// What is no image data, and is left out.
inline constexpr ismrmrd_flag ismrmrd_left_out[] = {{23, "navigation"},
                                                    {26, "feedback"},
                                                    {27, "dummy"},
                                                    {28, "real-time feedback"},
                                                    {29, "surface coil correction"},
                                                    {30, "phase stabilization reference"},
                                                    {31, "phase stabilization"}};

inline void check_samples(const std::string& name, std::size_t i, const ismrmrd_line& l, std::size_t there) {
    if (static_cast<index_t>(there) != l.samples * l.coils || l.samples < 1 || l.coils < 1)
        throw io_error(name + ": acquisition " + std::to_string(i) + ": " + std::to_string(there) +
                       " samples, its header says " + std::to_string(l.coils) + " x " + std::to_string(l.samples));
}

/// Samples of line `i`, (coils, samples), from where they lie.
using ismrmrd_samples = std::function<std::vector<std::complex<float>>(std::size_t i)>;

/// Says by the heads of lines which go where, and puts the samples of a slice there when it is asked for.
class ismrmrd_sorter {
public:
    using slice_type = array<std::complex<float>>;

    /// lines: their `data` are not read.
    ismrmrd_sorter(ismrmrd_header header, std::vector<ismrmrd_line> lines, std::string name, ismrmrd_samples samples)
        : header_(std::move(header)), lines_(std::move(lines)), name_(std::move(name)), samples_(std::move(samples)) {
        check_header();
        for (std::size_t i = 0; i < lines_.size(); ++i) classify(i);
        if (imaging_.empty()) fail("holds no line of an image");
        index_t n = 0;
        for (auto& [k, number] : slices_) number = n++;
        // A header of a few bytes can claim any size.
        if (n * y_ > 64 * (held_ / x_ + 1))
            fail(std::to_string(n) + " slices of " + std::to_string(x_) + " x " + std::to_string(y_) +
                 " frequencies are more than 64 times what was measured");
        image_ = places_of(imaging_);
        if (!calibrating_.empty()) calibration_ = places_of(calibrating_);
    }

    [[nodiscard]] shape_type shape() const { return {static_cast<index_t>(slices_.size()), coils_, x_, y_}; }
    [[nodiscard]] bool calibrates() const { return !calibrating_.empty(); }
    [[nodiscard]] slice_type image(index_t i) const { return place(image_, i); }
    [[nodiscard]] slice_type calibration(index_t i) const { return place(calibration_, i); }
    [[nodiscard]] kspace_mask measured() const {
        mask_collector all(shape()[0], x_, y_);
        for (const auto& lines : image_.of_slice) {
            std::vector<std::uint8_t> seen(static_cast<std::size_t>(x_ * y_), 0);
            for (const std::size_t i : lines)
                for (index_t s = lines_[i].before; s < lines_[i].samples - lines_[i].after; ++s)
                    seen[static_cast<std::size_t>(row_of(lines_[i], s) * y_ + column_of(lines_[i]))] = 1;
            all.add(seen);
        }
        return std::move(all).mask();
    }
    [[nodiscard]] kspace_facts facts() const {
        kspace_facts k;
        k.format = "ISMRMRD";
        k.stated = true;
        if (image_.whole) k.readout = readout();
        if (k.readout == x_) k.readout = 0;
        if (!image_.whole) k.notes.push_back("partial readouts: readout oversampling is kept");
        if (noise_samples_ > 0) k.noise = noise();
        for (const auto& [what, count] : left_out_)
            k.notes.push_back(std::to_string(count) + " lines left out: " + what);
        if (!calibrating_.empty())
            k.notes.push_back(std::to_string(calibrating_.size()) + " lines for calibration alone");
        return k;
    }

private:
    using key = std::array<index_t, 5>;
    /// Lines of each slice, in the order of the file.
    struct places {
        std::vector<std::vector<std::size_t>> of_slice{};
        index_t averages = 0;
        bool whole = true;  ///< every readout is complete
    };
    static key key_of(const ismrmrd_line& l) { return {l.repetition, l.set, l.contrast, l.phase, l.slice}; }
    [[noreturn]] void fail(const std::string& what) const { throw io_error(name_ + ": " + what); }
    [[nodiscard]] index_t column_of(const ismrmrd_line& l) const { return l.step_1 + first_line_; }
    [[nodiscard]] index_t row_of(const ismrmrd_line& l, index_t sample) const {
        return x_ / 2 - l.center + (l.is(22) ? l.samples - 1 - sample : sample);
    }

    void check_header() {
        if (!header_.trajectory.empty() && header_.trajectory != "cartesian")
            fail("the trajectory is \"" + header_.trajectory.substr(0, 40) +
                 "\"; only Cartesian measurements are read");
        x_ = header_.encoded[0];
        y_ = header_.encoded[1];
        if (x_ < 1 || y_ < 1 || x_ > 65535 || y_ > 65535)
            fail("the header's encodedSpace is " + std::to_string(x_) + " x " + std::to_string(y_) +
                 ", expected 1 to 65535 each");
        if (header_.encoded[2] > 1)
            fail("three-dimensional encoding (encodedSpace has z = " + std::to_string(header_.encoded[2]) +
                 "); only slices are read");
        first_line_ = header_.lines ? y_ / 2 - header_.lines->center : 0;
    }

    static std::string name_of(std::size_t i) { return "acquisition " + std::to_string(i) + ": "; }
    void classify(std::size_t i) {
        const ismrmrd_line& l = lines_[i];
        const std::string at = name_of(i);
        if (l.samples < 1 || l.coils < 1)
            fail(at + "its header says " + std::to_string(l.coils) + " x " + std::to_string(l.samples) + " samples");
        for (const int flag : {53, 54, 55, 56})
            if (l.is(flag)) fail(at + "is compressed");
        for (const auto& flag : ismrmrd_left_out)
            if (l.is(flag.number)) {
                ++left_out_[flag.name];
                return;
            }
        if (l.is(24)) fail(at + "phase correction of an echo-planar measurement (EPI), which is not read");
        if (l.is(19)) {
            if (noise_coils_ == 0) noise_coils_ = l.coils;
            if (l.coils != noise_coils_)
                fail(at + "noise of " + std::to_string(l.coils) + " coils after others of " +
                     std::to_string(noise_coils_));
            noise_samples_ += l.samples;
            return;
        }
        if (l.encoding != 0) fail(at + "belongs to a second encoding; only files of one are read");
        if (l.trajectory != 0) fail(at + "has a trajectory; only Cartesian measurements are read");
        if (l.step_2 != 0) fail(at + "three-dimensional encoding (kspace_encode_step_2), only slices are read");
        if (coils_ == 0) coils_ = l.coils;
        if (l.coils != coils_) fail(at + std::to_string(l.coils) + " coils, others have " + std::to_string(coils_));
        if (l.before + l.after >= l.samples) fail(at + "all samples are to be discarded");
        const index_t start = x_ / 2 - l.center;
        if (start < 0 || start + l.samples > x_)
            fail(at + std::to_string(l.samples) + " samples with their centre at " + std::to_string(l.center) +
                 " do not fit a readout of " + std::to_string(x_));
        if (const index_t line = column_of(l); line < 0 || line >= y_)
            fail(at + "kspace_encode_step_1 is " + std::to_string(l.step_1) + ", outside " + std::to_string(y_) +
                 " encoded lines");
        (l.is(20) && !l.is(21) ? calibrating_ : imaging_).push_back(i);
        held_ += l.samples;
        slices_.emplace(key_of(l), 0);
    }

    [[nodiscard]] places places_of(const std::vector<std::size_t>& lines) const {
        places p{std::vector<std::vector<std::size_t>>(slices_.size())};
        std::vector<index_t> averages(slices_.size() * static_cast<std::size_t>(y_), 0);
        std::set<std::array<index_t, 3>> taken;
        for (const std::size_t k : lines) {
            const ismrmrd_line& l = lines_[k];
            const index_t i = slices_.at(key_of(l)), column = column_of(l);
            if (!taken.insert({i, column, l.average}).second)
                fail(name_of(k) + "line " + std::to_string(l.step_1) + " of slice " + std::to_string(l.slice) +
                     " was measured twice");
            ++averages[static_cast<std::size_t>(i * y_ + column)];
            p.of_slice[static_cast<std::size_t>(i)].push_back(k);
            p.whole = p.whole && l.samples - l.before - l.after == x_;
        }
        for (const index_t count : averages) {
            if (count > 0 && p.averages > 0 && count != p.averages)
                fail("lines were averaged " + std::to_string(p.averages) + " and " + std::to_string(count) +
                     " times: their noise is not the same");
            p.averages = std::max(p.averages, count);
        }
        return p;
    }
    [[nodiscard]] std::vector<std::complex<float>> samples(std::size_t i) const {
        auto data = samples_(i);
        check_samples(name_, i, lines_[i], data.size());
        return data;
    }
    /// Slice i: means over averages.
    [[nodiscard]] slice_type place(const places& p, index_t i) const {
        slice_type out({1, coils_, x_, y_});
        for (const std::size_t k : p.of_slice[static_cast<std::size_t>(i)]) {
            const ismrmrd_line& l = lines_[k];
            const auto data = samples(k);
            for (index_t s = l.before; s < l.samples - l.after; ++s)
                for (index_t c = 0; c < coils_; ++c)
                    out[(c * x_ + row_of(l, s)) * y_ + column_of(l)] +=
                        data[static_cast<std::size_t>(c * l.samples + s)];
        }
        if (p.averages > 1)
            for (auto& v : out.data) v /= static_cast<float>(p.averages);
        return out;
    }

    /// Of the readout, without its oversampling: as many pixels as the field of view of the image has.
    [[nodiscard]] index_t readout() const {
        const double share = header_.encoded_view > 0 && header_.reconstructed_view > 0
                                 ? header_.reconstructed_view / header_.encoded_view
                                 : static_cast<double>(header_.reconstructed[0]) / static_cast<double>(x_);
        if (!(share > 0 && share < 1)) return x_;
        return std::clamp<index_t>(std::lround(share * static_cast<double>(x_)), 1, x_);
    }

    [[nodiscard]] array<std::complex<float>> noise() const {
        if (noise_coils_ != coils_)
            fail("the noise scan has " + std::to_string(noise_coils_) + " coils, the image " + std::to_string(coils_));
        array<std::complex<float>> out({coils_, noise_samples_});
        index_t first = 0;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            const ismrmrd_line& l = lines_[i];
            if (!l.is(19)) continue;
            const auto data = samples(i);
            for (index_t c = 0; c < coils_; ++c)
                std::copy_n(data.begin() + c * l.samples, l.samples, out.data.begin() + c * noise_samples_ + first);
            first += l.samples;
        }
        return out;
    }

    ismrmrd_header header_;
    std::vector<ismrmrd_line> lines_;
    std::string name_;
    ismrmrd_samples samples_;
    index_t x_ = 0, y_ = 0, first_line_ = 0, coils_ = 0, held_ = 0, noise_coils_ = 0, noise_samples_ = 0;
    std::vector<std::size_t> imaging_, calibrating_;
    std::map<key, index_t> slices_;
    std::map<std::string, index_t> left_out_;
    places image_, calibration_;
};

/// A slice at a time; see `sort_cartesian`.
[[nodiscard]] inline kspace_source sorted_lines(ismrmrd_header header, std::vector<ismrmrd_line> lines,
                                                std::string name, ismrmrd_samples samples) {
    const auto sorter = std::make_shared<const ismrmrd_sorter>(std::move(header), std::move(lines), std::move(name),
                                                               std::move(samples));
    kspace_source k{{sorter->facts()}, {}, {}, {}};
    k.values = {sorter->shape(), [sorter](index_t i) { return sorter->image(i); }};
    k.measured = [sorter] { return sorter->measured(); };
    if (sorter->calibrates()) k.calibration = {sorter->shape(), [sorter](index_t i) { return sorter->calibration(i); }};
    return k;
}

}  // namespace detail

/// Lines of one Cartesian encoding of slices as k-space, height: readout, width: lines of phase encoding (`step_1`, the centre of
/// the header's limits at width / 2). One slice of the result for each combination of repetition, set, contrast, phase and slice,
/// in that order. By flags: 19 becomes `noise`, 20 `calibration` (lines of 21 are the image's, too), 22 is turned round (its
/// centre counts in the turned line), navigation and feedback are left out. Averages become their mean. `readout` says how high
/// k-space is without oversampling, which is not removed here; it is 0 where a line is no whole readout (an asymmetric echo).
/// Throws io_error naming `name` and the acquisition: another trajectory, EPI, three dimensions, a second encoding, compression,
/// lines that do not fit the header, were measured twice or averaged unequally.
[[nodiscard]] inline kspace_data sort_cartesian(const ismrmrd_header& header, std::vector<ismrmrd_line> lines,
                                                const std::string& name) {
    std::vector<std::vector<std::complex<float>>> samples;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        detail::check_samples(name, i, lines[i], lines[i].data.size());
        samples.push_back(std::exchange(lines[i].data, {}));
    }
    return load(detail::sorted_lines(header, std::move(lines), name, [&](std::size_t i) { return samples[i]; }));
}

}  // namespace diem::io
