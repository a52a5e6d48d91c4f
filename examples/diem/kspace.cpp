// SPDX-License-Identifier: Apache-2.0
#include "diem/kspace.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <utility>

#include <diem/backend/eigen.hpp>
#include <diem/io/any_kspace.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/resize.hpp>

#include "support/memory.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

namespace {

using host_backend = eigen_backend<float>;

std::string size_text(index_t height, index_t width) { return std::to_string(height) + " x " + std::to_string(width); }
std::vector<float> pairs_of(const complex_images& a) { return io::as_pairs(a).data; }

io::kspace_mask mask_of(const mri_description& d, const fs::path& name) {
    const auto given = d.source(name);
    return given ? io::kspace_mask_of(*given, name.string()) : io::load_kspace_mask(name);
}
complex_images maps_of(const mri_description& d, const fs::path& name) {
    const auto given = d.source(name);
    return given ? io::coil_maps_of(*given, name.string()) : io::load_coil_maps(name);
}

/// The map of one coil that sees everything alike.
complex_images one_coil(index_t height, index_t width) {
    return complex_images({1, 1, height, width},
                          std::vector<std::complex<float>>(static_cast<std::size_t>(height * width), 1));
}
/// The mask that hides nothing.
io::kspace_mask every_column(index_t width) {
    return io::kspace_mask({1, 1, width}, std::vector<std::uint8_t>(static_cast<std::size_t>(width), 1));
}
complex_images cropped(host_backend& b, const complex_images& k, index_t height, index_t width) {
    return each_item(b, k, height, width, [&](const_view_t<host_backend> x) {
        return mri::crop_kspace<host_backend>(b, x, size_of(k), height, width);
    });
}
complex_images resized(host_backend& b, const complex_images& maps, index_t height, index_t width) {
    return each_item(b, maps, height, width, [&](const_view_t<host_backend> x) {
        return mri::resize_images<host_backend>(b, x, size_of(maps), height, width);
    });
}

/// See mri::crop_kspace. An axis is cut where all of its frequencies are measured.
void crop(host_backend& b, io::kspace_data& k, index_t height, index_t width, const fs::path& file) {
    k.values = cropped(b, k.values, height, width);
    if (k.calibration.size() > 0) {
        const auto there = io::measured_by_zeros(k.calibration);
        k.calibration = cropped(b, k.calibration, height, width);
        if (there.shape[1] == 1 && there.shape[2] == width) io::clear_unmeasured(k.calibration, there, file.string());
    }
    if (k.measured.shape[2] != width) k.measured = every_column(width);
    io::clear_unmeasured(k.values, k.measured, file.string());
}

/// One of a list that is empty, has one for all files, or one for each.
fs::path of_file(const std::vector<fs::path>& list, std::size_t k) {
    return list.empty() ? fs::path() : list[list.size() == 1 ? 0 : k];
}
void check_count(const mri_description& d, const char* key, const std::vector<fs::path>& list, std::size_t files) {
    if (list.size() > 1 && list.size() != files)
        throw config_error(d.where + ": \"" + key + "\": " + std::to_string(list.size()) + " files for " +
                           std::to_string(files) + " of observations");
}

/// Whether all rows of k-space are measured alike: what the image can be cut along.
bool rows_alike(const io::kspace_mask& m) { return m.shape[1] == 1; }
bool all_measured(const io::kspace_mask& m) {
    return std::all_of(m.data.begin(), m.data.end(), [](auto v) { return v != 0; });
}
/// Throws shape_error unless a mask fits k-space: of all slices or of each, of whole columns or of every frequency.
void check_mask(const io::kspace_mask& m, const fs::path& file, index_t items, index_t height, index_t width) {
    if ((m.shape[0] != 1 && m.shape[0] != items) || (m.shape[1] != 1 && m.shape[1] != height) || m.shape[2] != width)
        throw shape_error(file.string() + ": masks of (slices, rows, columns) " + io::to_string(m.shape) +
                          " do not fit k-space of " + std::to_string(items) + " slices of " + size_text(height, width) +
                          ", height is the readout and width the phase encoding (of a .cfl READ and PHS1)");
}

/// Of one file: what was measured, as much of it as the description asks for.
class mri_reader {
public:
    mri_reader(const mri_description& d, const fs::path& file, std::size_t number)
        : d_(d), file_(file), mask_file_(of_file(d.masks, number)), maps_file_(of_file(d.coils, number)), b_(1) {}

    mri_part read(std::vector<std::string>& words) {
        const bool several = d_.espirit || !d_.coils.empty();
        const auto third = several ? io::third_axis::coils : io::third_axis::slices;
        const auto given = d_.source(file_);
        if (!given) support::check_file(file_);
        auto k = given ? io::kspace_of(*given, third, file_.string()) : io::load_kspace(file_, third);
        if (!several && k.coils() != 1)
            throw shape_error(file_.string() + ": k-space of " + std::to_string(k.coils()) + " coils: " + d_.where +
                              " needs \"coils\", their maps (diem mri maps makes them), or \"espirit\"");
        height_ = k.height();
        width_ = k.width();
        take_mask(k);
        io::clear_unmeasured(k.values, k.measured, file_.string());
        if (remove_oversampling(k, file_))
            say(words, "readout oversampling removed, " + std::to_string(height_) + " to " +
                           std::to_string(k.height()) + " rows");
        if (d_.height > 0) fit(k, words);
        mri_part p;
        p.items = k.slices();
        p.height = k.height();
        p.width = k.width();
        p.mask.assign(k.measured.data.begin(), k.measured.data.end());
        p.one_mask = k.measured.shape[0] == 1;
        if (d_.complex) {
            p.coils = k.coils();
            auto maps = maps_for(k);
            p.one_map = maps.shape[0] == 1;
            p.maps = pairs_of(maps);
        }
        p.y = pairs_of(k.values);
        return p;
    }

private:
    void say(std::vector<std::string>& words, const std::string& what) const {
        words.push_back(file_.string() + ": " + what);
    }
    void take_mask(io::kspace_data& k) const {
        if (mask_file_.empty()) return;
        auto given = mask_of(d_, mask_file_);
        check_mask(given, mask_file_, k.slices(), k.height(), k.width());
        k.measured =
            io::smallest(k.stated ? io::both_measured(given, k.measured, mask_file_.string()) : std::move(given));
    }
    /// Exact where k-space can be cut; else x is another size than k-space, and a window is part of the operator.
    void fit(io::kspace_data& k, std::vector<std::string>& words) {
        const index_t h = d_.height, w = d_.width;
        const auto refuse = [&](const char* way) {
            throw config_error(d_.where + ": \"size\" is " + size_text(h, w) + ", k-space of " + file_.string() +
                               " is " + size_text(k.height(), k.width()) + ": say so by \"fit\": \"" + way + "\"");
        };
        const bool smaller = h < k.height() || w<k.width(), larger = h> k.height() || w > k.width();
        if ((smaller && !d_.crop) || (larger && !d_.pad))
            refuse(smaller && larger ? "crop_or_pad" : smaller ? "crop" : "pad");
        const bool rows = h < k.height() && rows_alike(k.measured);
        const bool columns = w < k.width() && all_measured(k.measured);
        if (rows || columns) {
            const index_t to_h = rows ? h : k.height(), to_w = columns ? w : k.width();
            say(words, "the image is cropped from " + size_text(k.height(), k.width()) + " to " +
                           size_text(to_h, to_w) + ", about its centre");
            crop(b_, k, to_h, to_w, file_);
        }
        if (h < k.height() || w < k.width())
            say(words, "k-space of " + size_text(k.height(), k.width()) +
                           " stays whole: x is taken to be zero outside " +
                           size_text(std::min(h, k.height()), std::min(w, k.width())));
        if (h > k.height() || w > k.width())
            say(words, "the measurement shows the inner " + size_text(std::min(h, k.height()), std::min(w, k.width())) +
                           " of x, " + size_text(h, w));
    }
    complex_images maps_for(const io::kspace_data& k) {
        if (d_.espirit) return espirit_maps(k, {}, file_, 1).maps;
        if (maps_file_.empty()) return one_coil(k.height(), k.width());
        auto maps = maps_of(d_, maps_file_);
        const auto has = [&](index_t h, index_t w) { return maps.shape[2] == h && maps.shape[3] == w; };
        if (maps.shape[1] != k.coils() || (maps.shape[0] != 1 && maps.shape[0] != k.slices()) ||
            !(has(height_, width_) || has(k.height(), k.width()) || (d_.height > 0 && has(d_.height, d_.width))))
            throw shape_error(maps_file_.string() + ": maps of (slices, coils, height, width) " +
                              io::to_string(maps.shape) + " do not fit k-space of " + file_.string() + ", " +
                              std::to_string(k.slices()) + " slices of " + std::to_string(k.coils()) + " coils of " +
                              size_text(height_, width_) + " (of a .cfl READ is the height, PHS1 the width)");
        return has(k.height(), k.width()) ? maps : resized(b_, maps, k.height(), k.width());
    }

    const mri_description& d_;
    fs::path file_, mask_file_, maps_file_;
    host_backend b_;
    index_t height_ = 0, width_ = 0;  // of the file
};

/// The columns about the origin that all items of `p` have measured in full: first and last + 1.
std::pair<index_t, index_t> centre_of(const mri_part& p) {
    const auto size = static_cast<std::size_t>(p.width);
    std::vector<char> full(size, 1);
    for (std::size_t k = 0; k < p.mask.size(); ++k)
        if (p.mask[k] == 0) full[k % size] = 0;
    const index_t origin = p.width / 2, most = p.width / 8;
    index_t first = origin, last = origin;
    while (first > origin - most && full[static_cast<std::size_t>(first - 1)] != 0) --first;
    while (last < origin + most && full[static_cast<std::size_t>(last)] != 0) ++last;
    return {first, last};
}

double share_of_rows(const std::vector<mri_part>& parts, index_t rows) {
    double seen = 0, all = 0;
    for (const auto& p : parts) {
        double ones = 0;
        for (const float v : p.mask) ones += static_cast<double>(v);
        seen += ones / static_cast<double>(p.mask.size()) * static_cast<double>(p.rows() * p.items);
        all += static_cast<double>(rows * p.items);
    }
    return seen / all;
}

}  // namespace

std::vector<int> mri_part::groups() const {
    const auto [first, last] = centre_of(*this);
    const index_t one = height * width;
    std::vector<int> group(static_cast<std::size_t>(rows()));
    for (std::size_t k = 0; k < group.size(); ++k) {
        const index_t at = static_cast<index_t>(k) / 2 % one, i = at / width, j = at % width;
        const index_t mirror = (2 * (height / 2) - i + height) % height * width + (2 * (width / 2) - j + width) % width;
        group[k] = j >= first && j < last ? -1 : static_cast<int>(coils > 0 ? at : std::min(at, mirror));
    }
    return group;
}

espirit_result espirit_maps(const io::kspace_data& k, const mri::espirit_options& options, const fs::path& file,
                            int threads) {
    host_backend b(threads);
    const auto& from = k.calibration.size() > 0 ? k.calibration : k.values;
    const auto size = size_of(from);
    espirit_result out{{}, options.calibration};
    index_t slice = 0;
    out.maps = each_item(b, from, size.height, size.width, [&](const_view_t<host_backend> x) {
        auto here = options;
        here.calibration = std::min(options.calibration, mri::calibration_width<host_backend>(b, x, size));
        if (here.calibration < 2 * options.kernel)
            throw value_error(file.string() + ": slice " + std::to_string(slice) +
                              ": the measured square in the centre of k-space is " + std::to_string(here.calibration) +
                              " wide, expected at least twice the kernel, " + std::to_string(2 * options.kernel));
        ++slice;
        out.calibration = std::min(out.calibration, here.calibration);
        return mri::espirit<host_backend>(b, x, size, here);
    });
    return out;
}

bool remove_oversampling(io::kspace_data& k, const fs::path& file) {
    if (k.readout <= 0 || k.readout >= k.height() || !rows_alike(k.measured)) return false;
    host_backend b(1);
    crop(b, k, std::exchange(k.readout, 0), k.width(), file);
    return true;
}

mri_measurement load_mri(const mri_description& d, const std::vector<fs::path>& files) {
    if (d.drawn)
        throw config_error(d.where +
                           ": \"mask\" describes masks to be drawn by diem observe; give the file that holds them");
    check_count(d, "mask", d.masks, files.size());
    check_count(d, "coils", d.coils, files.size());
    mri_measurement m;
    m.complex = d.complex;
    index_t rows = 0;
    for (std::size_t k = 0; k < files.size(); ++k) {
        m.parts.push_back(mri_reader(d, files[k], k).read(m.words));
        const auto& p = m.parts.back();
        rows = std::max(rows, p.rows());
        const auto& first = m.parts.front();
        if (d.height == 0 && (p.height != first.height || p.width != first.width))
            throw shape_error(files[k].string() + ": k-space of " + size_text(p.height, p.width) + ", " +
                              files[0].string() + " has " + size_text(first.height, first.width) + "; give " + d.where +
                              " the \"size\" of x, and \"fit\"");
    }
    m.height = d.height > 0 ? d.height : m.parts.front().height;
    m.width = d.width > 0 ? d.width : m.parts.front().width;
    m.share = share_of_rows(m.parts, rows);
    if (m.share == 0) throw value_error(d.where + ": no frequency was measured: nothing was seen");
    return m;
}

mri_measurement mri_for_images(const mri_description& d, index_t items, index_t height, index_t width,
                               const io::kspace_mask& masks) {
    if (d.height > 0 && (d.height != height || d.width != width))
        throw shape_error(d.where + ": \"size\" is " + size_text(d.height, d.width) + ", the truth is " +
                          size_text(height, width));
    if (d.espirit) throw config_error(d.where + ": \"coils\": a truth has no k-space to make maps of; give a file");
    for (const auto& [key, list] : {std::pair{"mask", &d.masks}, std::pair{"coils", &d.coils}})
        if (list->size() > 1)
            throw config_error(d.where + ": \"" + key + "\": " + std::to_string(list->size()) +
                               " files for one truth, expected one");
    mri_part p;
    p.items = items;
    p.height = height;
    p.width = width;
    io::kspace_mask m = masks;
    if (m.size() == 0 && !d.masks.empty()) m = mask_of(d, d.masks.front());
    if (m.size() == 0) m = every_column(width);
    check_mask(m, d.masks.empty() ? fs::path(d.where) : d.masks.front(), items, height, width);
    p.mask.assign(m.data.begin(), m.data.end());
    p.one_mask = m.shape[0] == 1;
    if (d.complex) {
        const auto maps = d.coils.empty() ? one_coil(height, width) : maps_of(d, d.coils.front());
        if ((maps.shape[0] != 1 && maps.shape[0] != items) || maps.shape[2] != height || maps.shape[3] != width)
            throw shape_error(d.coils.front().string() + ": maps of (slices, coils, height, width) " +
                              io::to_string(maps.shape) + " do not fit " + std::to_string(items) + " images of " +
                              size_text(height, width));
        p.coils = maps.shape[1];
        p.one_map = maps.shape[0] == 1;
        p.maps = pairs_of(maps);
    }
    mri_measurement out;
    out.height = height;
    out.width = width;
    out.complex = d.complex;
    out.share = share_of_rows({p}, p.rows());
    out.parts.push_back(std::move(p));
    return out;
}

}  // namespace program
