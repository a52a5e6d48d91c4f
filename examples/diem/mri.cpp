// SPDX-License-Identifier: Apache-2.0
#include "diem/mri.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/io/any_kspace.hpp>
#include <diem/io/array_place.hpp>
#include <diem/mri/measured.hpp>
#include <diem/mri/scaling.hpp>
#include <diem/mri/whitening.hpp>

#include "diem/files.hpp"
#include "diem/kspace.hpp"
#include "diem/outputs.hpp"
#include "support/memory.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

namespace {

using mri_backend = eigen_backend<float>;

/// Without readout oversampling, as the operator mri takes it.
measured_kspace load_coils(const std::filesystem::path& file) {
    support::check_file(file);
    measured_kspace m{io::open_kspace(file, io::third_axis::coils), {}};
    m.mask = m.k.measured();
    if (remove_oversampling(m, file)) std::cout << "readout oversampling removed: " << m.k.values.height() << " rows\n";
    return m;
}

/// Whether it is a file of BART; else it is npy. Throws io_error for another extension.
bool as_cfl(const std::filesystem::path& out) {
    const std::string extension = io::lower_extension(out);
    if (extension != ".npy" && extension != ".cfl" && extension != ".hdr")
        throw io_error("--out: " + out.string() + ": expected a name that ends in .npy or .cfl");
    return extension != ".npy";
}
void save_coils(const std::filesystem::path& out, const complex_images& a) {
    if (as_cfl(out)) return io::save_cfl(out, io::to_cfl_slices(a));
    io::save_npy(out, a);
}
/// As save_coils writes it, nothing of the user's is replaced, and the place can be written: before the work.
void prepare_output(const mri_command& o, const std::filesystem::path& out) {
    (void)as_cfl(out);
    auto place = outputs::file("--out", out);
    place.reads("the k-space", o.kspace).reads("--noise", o.noise).prepare();
}
/// Where lines for calibration alone go, beside `out`.
std::filesystem::path calibration_beside(const std::filesystem::path& out) {
    auto name = out.stem();
    name += "_calibration";
    name += out.extension();
    return out.parent_path() / name;
}
void say_written(const std::filesystem::path& out, const complex_images& a, const char* what = "") {
    std::cout << out.string() << ' ' << io::to_string(a.shape) << " (slices, coils, height, width)" << what << '\n';
}
void tell_written(const mri_command& o, const char* program, const complex_images& a, io::json more) {
    say_written(o.out, a);
    more.update({{"program", program}, {"out", o.out.string()}, {"shape", a.shape}});
    support::tell(more);
}

/// Where the covariance is from, and it.
struct known_noise {
    mri::noise_covariance covariance;
    std::string source;
};
known_noise noise_of(mri_backend& b, const io::kspace_source& k, const std::filesystem::path& given) {
    auto scan = k.noise;
    std::string source = "the file's noise scan";
    if (!given.empty()) {
        const auto a = io::load_array<float>(given);
        if (!a.complex || a.values.shape.size() != 3 || a.values.shape[0] != k.values.coils())
            throw io_error(given.string() + ": shape " + io::to_string(a.values.shape) +
                           (a.complex ? " with the parts of complex numbers last" : " of real numbers") +
                           ", expected complex (coils, samples) of " + std::to_string(k.values.coils()) + " coils");
        scan.shape = {a.values.shape[0], a.values.shape[1]};
        scan.data = complex_numbers(a.values.data, true);
        source = given.string();
    }
    if (scan.size() > 0) {
        scan.shape.insert(scan.shape.begin(), 1);
        const auto n = one_item(b, scan, 0);
        return {mri::noise_of_scan<mri_backend>(b, n.cview(), k.values.coils()), source};
    }
    const auto x = one_item(b, k.values(0), 0);
    const auto size = size_of(k.values.shape());
    try {
        return {mri::noise_of_corners<mri_backend>(b, x.cview(), size), "the corners of k-space, an upper bound"};
    } catch (const value_error&) {  // they were not measured
        return {mri::noise_of_edge<mri_backend>(b, x.cview(), size), "the edge of k-space, an upper bound"};
    }
}
double sigma_of(const mri::noise_covariance& n) {
    double sum = 0;
    for (index_t c = 0; c < n.psi.rows; ++c) sum += n.sigma(c) * n.sigma(c);
    return std::sqrt(sum / static_cast<double>(n.psi.rows));
}

/// K-space and its lines for calibration, each slice made white when it is read; says by which noise, and notes it in `j`.
measured_kspace whitened(const mri_command& o, measured_kspace m, io::json& j) {
    const auto b = std::make_shared<mri_backend>();
    const auto noise = noise_of(*b, m.k, o.noise);
    const auto mix = [b, w = mri::whitening_matrix(noise.covariance), size = size_of(m.k.values.shape())](
                         index_t, const_view_t<mri_backend> x) { return mri::mix_coils<mri_backend>(*b, w, x, size); };
    const auto white = [&](const io::complex_slices& a) { return each_slice(b, a, a.height(), a.width(), mix); };
    m.k.values = io::cleared(white(m.k.values), m.mask, o.kspace.string());
    if (!m.k.calibration.empty()) m.k.calibration = white(m.k.calibration);
    std::cout << "noise from " << noise.source << ", " << noise.covariance.samples << " samples; whitened, sigma_y is "
              << support::number(mri::whitened_sigma, 4) << '\n';
    j.update({{"noise", noise.source}, {"sigma_before", sigma_of(noise.covariance)}, {"sigma_y", mri::whitened_sigma}});
    return m;
}

}  // namespace

int mri_maps(const mri_command& o) {
    prepare_output(o, o.out);
    io::json j = io::json::object();
    auto m = load_coils(o.kspace);
    if (o.whiten) m = whitened(o, std::move(m), j);
    const auto made = espirit_maps(m.k, {o.calibration, o.kernel, o.threshold, o.crop}, o.kspace, 0);
    const auto maps = made.maps.all();
    save_coils(o.out, maps);
    std::cout << "maps of a square of " << *made.calibration << " x " << *made.calibration << " in the centre of "
              << (m.k.calibration.empty() ? "k-space\n" : "the lines for calibration\n");
    j["calibration"] = *made.calibration;
    tell_written(o, "diem mri maps", maps, std::move(j));
    return 0;
}

int mri_whiten(const mri_command& o) {
    prepare_output(o, o.out);
    auto m = load_coils(o.kspace);
    const auto beside = calibration_beside(o.out);
    const bool calibrates = !m.k.calibration.empty();
    if (calibrates) prepare_output(o, beside);
    io::json j = io::json::object();
    const auto white = whitened(o, std::move(m), j).k;
    const auto values = white.values.all();
    if (calibrates) {
        const auto lines = white.calibration.all();
        save_coils(beside, lines);
        say_written(beside, lines, ", the lines for calibration: diem mri maps makes maps of them");
        j["calibration_out"] = beside;
    }
    save_coils(o.out, values);
    tell_written(o, "diem mri whiten", values, std::move(j));
    return 0;
}

int mri_info(const mri_command& o) {
    mri_backend b;
    const auto [k, mask] = load_coils(o.kspace);
    const auto& values = k.values;
    const auto size = size_of(values.shape());
    const double share = io::share_of(mask);
    std::vector<std::pair<std::string, std::string>> rows{
        {"file", o.kspace.string()},
        {"format", k.format},
        {"slices", std::to_string(values.slices())},
        {"coils", std::to_string(values.coils())},
        {"height x width",
         std::to_string(values.height()) + " x " + std::to_string(values.width()) + " (readout x phase encoding)"},
        {"measured", support::number(100 * share, 2) + " % of the frequencies, acceleration " +
                         support::number(share > 0 ? 1 / share : 0.0, 2)},
        {"mask", std::string(mask.shape[1] == 1 ? "of columns" : "of frequencies") +
                     (mask.shape[0] == 1 ? ", one for all slices" : ", one for each slice") +
                     (k.stated ? ", as the file says" : ", where not all coils are zero")}};
    io::json j{{"program", "diem mri info"},
               {"file", o.kspace.string()},
               {"format", k.format},
               {"slices", values.slices()},
               {"coils", values.coils()},
               {"height", values.height()},
               {"width", values.width()},
               {"measured_share", share},
               {"columns", mask.shape[1] == 1},
               {"notes", k.notes}};
    const auto first = one_item(b, values(0), 0);
    const bool calibrates = !k.calibration.empty();  // maps are made of these lines
    const auto centre = one_item(b, (calibrates ? k.calibration : values)(0), 0);
    const index_t square = mri::calibration_width<mri_backend>(b, centre.cview(), size);
    rows.emplace_back("calibration square", std::to_string(square) + " wide, in the centre of the first slice" +
                                                (calibrates ? ", of its lines for calibration" : ""));
    j["calibration"] = square;
    const auto image = to_host(b, mri::root_sum_of_squares<mri_backend>(b, first.cview(), size));
    const double most = static_cast<double>(*std::max_element(image.begin(), image.end()));
    rows.emplace_back("largest magnitude", support::brief(most) + ", of the first slice, zero filled");
    j["largest_magnitude"] = most;
    try {
        const auto noise = noise_of(b, k, {});
        rows.emplace_back("noise sigma_y", support::brief(sigma_of(noise.covariance)) + ", from " + noise.source);
        j["sigma_y"] = sigma_of(noise.covariance);
        j["noise"] = noise.source;
    } catch (const value_error&) {
        rows.emplace_back("noise sigma_y",
                          "not known: no noise scan, and too little is measured at the edge of k-space");
    }
    for (const auto& note : k.notes) rows.emplace_back("note", note);
    std::size_t width = 0;
    for (const auto& r : rows) width = std::max(width, r.first.size());
    for (const auto& r : rows) std::cout << r.first << std::string(width + 2 - r.first.size(), ' ') << r.second << '\n';
    support::tell(j);
    return 0;
}

}  // namespace program
