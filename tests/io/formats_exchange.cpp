// SPDX-License-Identifier: Apache-2.0
// The C++ half of formats_exchange.py.
//   copy IN OUT           load_array, then save_array
//   kspace FILE OUT       load_kspace, description on standard output; OUT_kspace.npy, OUT_mask.npy and, where there is a scan,
//                         OUT_noise.npy
//   fastmri FILE OUT      description on standard output; k-space of all slices as OUT.npy, reconstructions as OUT.h5
#include <diem/io/any_kspace.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/fastmri.hpp>
#include <diem/io/ismrmrd.hpp>
#endif

#include <complex>
#include <exception>
#include <iostream>
#include <string>

namespace {

using namespace diem;
using namespace diem::io;

#if defined(DIEM_HAS_HDF5)
void fastmri(const std::string& path, const std::string& out) {
    const fastmri_file file(path);
    std::cout << file.slices << ' ' << file.coils << ' ' << file.height << ' ' << file.width << ' ' << file.padding_left
              << ' ' << file.padding_right << ' ' << file.acceleration.value_or(-1) << ' ' << file.max.value_or(-1)
              << ' ' << file.header.reconstructed[0] << ' ' << file.acquisition << ' ' << file.reconstruction_name
              << '\n';
    array<std::complex<float>> kspace;
    array<float> images;
    for (index_t k = 0; k < file.slices; ++k) {
        const auto slice = file.kspace(k);
        kspace.data.insert(kspace.data.end(), slice.data.begin(), slice.data.end());
        kspace.shape = {file.slices, slice.shape[0], slice.shape[1], slice.shape[2]};
        if (file.reconstruction_name.empty()) continue;
        const auto image = file.reconstruction(k);
        images.data.insert(images.data.end(), image.data.begin(), image.data.end());
        images.shape = {file.slices, image.shape[0], image.shape[1]};
    }
    save_npy(out + ".npy", kspace);
    if (!images.shape.empty()) save_fastmri_reconstruction(out + ".h5", images);
}

/// By the reader of that format alone, compared with what picked it.
void compare(const std::string& path, const kspace_data& picked) {
    // [io/ismrmrd.hpp]
    const auto k =
        diem::io::load_ismrmrd(path, "dataset");          // k.values: (slices, coils, readout, lines); k.noise: a scan
    const double share = diem::io::share_of(k.measured);  // of the frequencies
    // [io/ismrmrd.hpp]
    if (k.values.data != picked.values.data || share != share_of(picked.measured))
        throw diem::io_error(path + ": load_ismrmrd and load_kspace differ");
}
#endif

void kspace(const std::string& path, const std::string& out) {
    const auto k = load_kspace(path, third_axis::coils);
#if defined(DIEM_HAS_HDF5)
    if (k.format == "ISMRMRD") compare(path, k);
#endif
    std::cout << k.format << ' ' << k.readout << '\n';
    save_npy(out + "_kspace.npy", k.values);
    save_npy(out + "_mask.npy", k.measured);
    if (k.noise.size() > 0) save_npy(out + "_noise.npy", k.noise);
    if (k.calibration.size() > 0) save_npy(out + "_calibration.npy", k.calibration);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argc == 4 ? argv[1] : argc == 2 ? argv[1] : "";
    try {
        if (verb == "formats")
            std::cout << array_formats() << '\n';
        else if (verb == "copy")
            save_array(argv[3], load_array<float>(argv[2]));
        else if (verb == "kspace")
            kspace(argv[2], argv[3]);
#if defined(DIEM_HAS_HDF5)
        else if (verb == "fastmri")
            fastmri(argv[2], argv[3]);
#endif
        else
            throw io_error("usage: formats | copy IN OUT | kspace FILE OUT | fastmri FILE OUT");
    } catch (const std::exception& e) {
        std::cerr << "formats_exchange " << verb << ": " << e.what() << '\n';
        return 1;
    }
    return 0;
}
