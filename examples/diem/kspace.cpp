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

#include "diem/files.hpp"
#include "support/memory.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

namespace {

using host_backend = eigen_backend<float>;

std::string size_text(index_t height, index_t width) { return std::to_string(height) + " x " + std::to_string(width); }
io::reading way_of(const host_memory_source& large) { return large ? io::reading::mapped : io::reading::loaded; }

io::kspace_mask mask_of(const mri_description& d, const fs::path& name, const host_memory_source& large) {
    if (const auto given = d.source(name)) return io::kspace_mask_of(*given, name.string());
    if (!large) return io::load_kspace_mask(name);
    const auto there = map_values(name, large, true);
    return io::kspace_mask_of(there.shape(), there.values(), false, name.string());
}
host_items mask_values(const io::kspace_mask& m, const host_memory_source& large) {
    host_items values({m.shape[0], m.shape[1] * m.shape[2]}, large ? large : plain_memory);
    std::copy(m.data.begin(), m.data.end(), values.mutable_values().begin());
    return values;
}
io::complex_slices maps_of(const mri_description& d, const fs::path& name, io::reading how) {
    const auto given = d.source(name);
    return given ? io::coil_maps_of(*given, name.string()) : io::open_coil_maps(name, how);
}
/// K-space of a file; `d`: by what is there in its place, and what its axes are.
io::kspace_source source_of(const mri_description& d, const fs::path& file, io::reading how) {
    const auto third = d.several_coils() ? io::third_axis::coils : io::third_axis::slices;
    const auto given = d.source(file);
    if (!given && how == io::reading::loaded) support::check_file(file);
    return given ? io::kspace_source_of(*given, third, file.string()) : io::open_kspace(file, third, how);
}

/// The map of one coil that sees everything alike.
io::complex_slices one_coil(index_t height, index_t width) {
    return io::complex_slices::of(complex_images(
        {1, 1, height, width}, std::vector<std::complex<float>>(static_cast<std::size_t>(height * width), 1)));
}
/// The mask that hides nothing.
io::kspace_mask every_column(index_t width) {
    return io::kspace_mask({1, 1, width}, std::vector<std::uint8_t>(static_cast<std::size_t>(width), 1));
}
io::complex_slices cropped(const std::shared_ptr<host_backend>& b, const io::complex_slices& k, index_t height,
                           index_t width) {
    return each_slice(b, k, height, width, [=, size = size_of(k.shape())](index_t, const_view_t<host_backend> x) {
        return mri::crop_kspace<host_backend>(*b, x, size, height, width);
    });
}
io::complex_slices resized(const std::shared_ptr<host_backend>& b, const io::complex_slices& maps, index_t height,
                           index_t width) {
    return each_slice(b, maps, height, width, [=, size = size_of(maps.shape())](index_t, const_view_t<host_backend> x) {
        return mri::resize_images<host_backend>(*b, x, size, height, width);
    });
}

/// See mri::crop_kspace. An axis is cut where all of its frequencies are measured.
void crop(const std::shared_ptr<host_backend>& b, measured_kspace& m, index_t height, index_t width,
          const fs::path& file) {
    auto& k = m.k;
    k.values = cropped(b, k.values, height, width);
    if (!k.calibration.empty()) {
        const auto there = io::measured_by_zeros(k.calibration);
        k.calibration = cropped(b, k.calibration, height, width);
        if (there.shape[1] == 1 && there.shape[2] == width)
            k.calibration = io::cleared(k.calibration, there, file.string());
    }
    if (m.mask.shape[2] != width) m.mask = every_column(width);
    k.values = io::cleared(k.values, m.mask, file.string());
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
    mri_reader(const mri_description& d, const fs::path& file, std::size_t number, const host_memory_source& large)
        : d_(d), file_(file), mask_file_(of_file(d.masks, number)), maps_file_(of_file(d.coils, number)),
          large_(large) {}

    mri_part read(std::vector<std::string>& words) {
        measured_kspace m{source_of(d_, file_, way_of(large_)), {}};
        auto& k = m.k.values;
        if (!d_.several_coils() && k.coils() != 1)
            throw shape_error(file_.string() + ": k-space of " + std::to_string(k.coils()) + " coils: " + d_.where +
                              " needs \"coils\", their maps (diem mri maps makes them), or \"espirit\"");
        height_ = k.height();
        width_ = k.width();
        m.mask = mask_for(m.k);
        k = io::cleared(k, m.mask, file_.string());
        if (remove_oversampling(m, file_))
            say(words, "readout oversampling removed, " + std::to_string(height_) + " to " +
                           std::to_string(k.height()) + " rows");
        if (d_.height > 0) fit(m, words);
        mri_part p;
        p.items = k.slices();
        p.height = k.height();
        p.width = k.width();
        p.mask = mask_values(m.mask, large_);
        p.one_mask = m.mask.shape[0] == 1;
        if (d_.complex) {
            p.coils = k.coils();
            p.maps = maps_for(m.k);
        }
        p.y = k;
        return p;
    }

private:
    void say(std::vector<std::string>& words, const std::string& what) const {
        words.push_back(file_.string() + ": " + what);
    }
    [[nodiscard]] io::kspace_mask mask_for(const io::kspace_source& k) const {
        if (mask_file_.empty()) return k.measured();
        auto given = mask_of(d_, mask_file_, large_);
        check_mask(given, mask_file_, k.values.slices(), k.values.height(), k.values.width());
        return io::smallest(k.stated ? io::both_measured(given, k.measured(), mask_file_.string()) : std::move(given));
    }
    /// Exact where k-space can be cut; else x is another size than k-space, and a window is part of the operator.
    void fit(measured_kspace& m, std::vector<std::string>& words) {
        const auto& k = m.k.values;
        const index_t h = d_.height, w = d_.width;
        const auto refuse = [&](const char* way) {
            throw config_error(d_.where + ": \"size\" is " + size_text(h, w) + ", k-space of " + file_.string() +
                               " is " + size_text(k.height(), k.width()) + ": say so by \"fit\": \"" + way + "\"");
        };
        const bool smaller = h < k.height() || w<k.width(), larger = h> k.height() || w > k.width();
        if ((smaller && !d_.crop) || (larger && !d_.pad))
            refuse(smaller && larger ? "crop_or_pad" : smaller ? "crop" : "pad");
        const bool rows = h < k.height() && rows_alike(m.mask);
        const bool columns = w < k.width() && all_measured(m.mask);
        if (rows || columns) {
            const index_t to_h = rows ? h : k.height(), to_w = columns ? w : k.width();
            say(words, "the image is cropped from " + size_text(k.height(), k.width()) + " to " +
                           size_text(to_h, to_w) + ", about its centre");
            crop(b_, m, to_h, to_w, file_);
        }
        if (h < k.height() || w < k.width())
            say(words, "k-space of " + size_text(k.height(), k.width()) +
                           " stays whole: x is taken to be zero outside " +
                           size_text(std::min(h, k.height()), std::min(w, k.width())));
        if (h > k.height() || w > k.width())
            say(words, "the measurement shows the inner " + size_text(std::min(h, k.height()), std::min(w, k.width())) +
                           " of x, " + size_text(h, w));
    }
    [[nodiscard]] io::complex_slices maps_for(const io::kspace_source& source) {
        if (d_.espirit) return espirit_maps(source, {}, file_, 1).maps;
        const auto& k = source.values;
        if (maps_file_.empty()) return one_coil(k.height(), k.width());
        const auto maps = maps_of(d_, maps_file_, way_of(large_));
        const auto has = [&](index_t h, index_t w) { return maps.height() == h && maps.width() == w; };
        if (maps.coils() != k.coils() || (maps.slices() != 1 && maps.slices() != k.slices()) ||
            !(has(height_, width_) || has(k.height(), k.width()) || (d_.height > 0 && has(d_.height, d_.width))))
            throw shape_error(maps_file_.string() + ": maps of (slices, coils, height, width) " +
                              io::to_string(maps.shape()) + " do not fit k-space of " + file_.string() + ", " +
                              std::to_string(k.slices()) + " slices of " + std::to_string(k.coils()) + " coils of " +
                              size_text(height_, width_) + " (of a .cfl READ is the height, PHS1 the width)");
        if (!has(k.height(), k.width())) return resized(b_, maps, k.height(), k.width());
        if (!maps.values().empty())  // they are used where they lie
            for (index_t i = 0; i < maps.slices(); ++i) (void)maps(i);
        return maps;
    }

    const mri_description& d_;
    fs::path file_, mask_file_, maps_file_;
    const host_memory_source& large_;
    std::shared_ptr<host_backend> b_ = std::make_shared<host_backend>(1);
    index_t height_ = 0, width_ = 0;  // of the file
};

/// The columns about the origin that all items of `p` have measured in full: first and last + 1.
std::pair<index_t, index_t> centre_of(const mri_part& p) {
    const auto size = static_cast<std::size_t>(p.width);
    std::vector<char> full(size, 1);
    const auto mask = p.mask.values();
    for (std::size_t k = 0; k < mask.size(); ++k)
        if (mask[k] == 0) full[k % size] = 0;
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
        for (const float v : p.mask.values()) ones += static_cast<double>(v);
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

espirit_result espirit_maps(const io::kspace_source& k, const mri::espirit_options& options, const fs::path& file,
                            int threads) {
    const auto b = std::make_shared<host_backend>(threads);
    const auto& from = k.calibration.empty() ? k.values : k.calibration;
    espirit_result out{{}, std::make_shared<index_t>(options.calibration)};
    out.maps = each_slice(
        b, from, from.height(), from.width(),
        [=, size = size_of(from.shape()), least = out.calibration](index_t slice, const_view_t<host_backend> x) {
            auto here = options;
            here.calibration = std::min(options.calibration, mri::calibration_width<host_backend>(*b, x, size));
            if (here.calibration < 2 * options.kernel)
                throw value_error(file.string() + ": slice " + std::to_string(slice) +
                                  ": the measured square in the centre of k-space is " +
                                  std::to_string(here.calibration) + " wide, expected at least twice the kernel, " +
                                  std::to_string(2 * options.kernel));
            *least = std::min(*least, here.calibration);
            return mri::espirit<host_backend>(*b, x, size, here);
        });
    return out;
}

bool remove_oversampling(measured_kspace& m, const fs::path& file) {
    auto& k = m.k;
    if (k.readout <= 0 || k.readout >= k.values.height() || !rows_alike(m.mask)) return false;
    crop(std::make_shared<host_backend>(1), m, std::exchange(k.readout, 0), k.values.width(), file);
    return true;
}

mri_bytes bytes_of(const mri_description& d, const std::vector<fs::path>& files) {
    mri_bytes all;
    double slices = 0, pixels = static_cast<double>(d.height * d.width), rows = 0;
    for (const auto& file : files) {
        const auto k = source_of(d, file, io::reading::mapped).values;
        const auto n = static_cast<double>(k.slices()), one = static_cast<double>(k.height() * k.width());
        slices += n;
        rows = std::max(rows, 8 * static_cast<double>(k.features()));
        if (d.height == 0) pixels = std::max(pixels, one);
        all.operators += 4 * n * one + (d.espirit ? 8 * n * static_cast<double>(k.features()) : 0);
    }
    for (const auto& file : d.coils)
        if (const auto maps = maps_of(d, file, io::reading::mapped); maps.slices() > 1)
            all.operators += 8 * static_cast<double>(io::element_count(maps.shape()));
    all.y = slices * rows;
    all.samples = slices * pixels * (d.complex ? 8 : 4);
    return all;
}

mri_measurement load_mri(const mri_description& d, const std::vector<fs::path>& files,
                         const host_memory_source& large) {
    if (d.drawn)
        throw config_error(d.where +
                           ": \"mask\" describes masks to be drawn by diem observe; give the file that holds them");
    check_count(d, "mask", d.masks, files.size());
    check_count(d, "coils", d.coils, files.size());
    mri_measurement m;
    m.complex = d.complex;
    index_t rows = 0;
    for (std::size_t k = 0; k < files.size(); ++k) {
        m.parts.push_back(mri_reader(d, files[k], k, large).read(m.words));
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
    if (m.size() == 0 && !d.masks.empty()) m = mask_of(d, d.masks.front(), {});
    if (m.size() == 0) m = every_column(width);
    check_mask(m, d.masks.empty() ? fs::path(d.where) : d.masks.front(), items, height, width);
    p.mask = mask_values(m, {});
    p.one_mask = m.shape[0] == 1;
    if (d.complex) {
        const auto maps = d.coils.empty() ? one_coil(height, width) : maps_of(d, d.coils.front(), io::reading::loaded);
        if ((maps.slices() != 1 && maps.slices() != items) || maps.height() != height || maps.width() != width)
            throw shape_error(d.coils.front().string() + ": maps of (slices, coils, height, width) " +
                              io::to_string(maps.shape()) + " do not fit " + std::to_string(items) + " images of " +
                              size_text(height, width));
        p.coils = maps.coils();
        p.maps = maps;
    }
    mri_measurement out;
    out.height = height;
    out.width = width;
    out.complex = d.complex;
    const index_t rows = p.rows();
    out.parts.push_back(std::move(p));
    out.share = share_of_rows(out.parts, rows);
    return out;
}

}  // namespace program
