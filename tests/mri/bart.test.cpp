// SPDX-License-Identifier: Apache-2.0
#include <diem/io/cfl.hpp>
#include <diem/mri/espirit.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::test;

TEST_CASE("espirit finds the maps of bart ecalib", "[mri]") {
    if (std::system("bart version > /dev/null 2>&1") != 0) {  // NOLINT(cert-env33-c)
        std::cout << "skipped: no bart\n";
        return;
    }
    using B = main_backend<float>;
    B b = make_backend<B>();
    const temporary_folder folder;
    const auto bart = [&](const std::string& arguments) {
        REQUIRE(std::system(("cd '" + folder.path().string() + "' && bart " + arguments + " > log 2>&1").c_str()) == 0);
    };
    const mri::kspace_size size{80, 96, 4};
    bart("phantom -k -s 4 -x 96 square");
    bart("resize -c 1 80 square k");  // READ is the last axis, the width
    // BART's threshold is one of squared singular values; -P: the phase of the first coil, not of a virtual one.
    bart("ecalib -m 1 -k 6 -r 24 -t 0.0004 -c 0.9 -P k maps");
    const auto kspace = io::load_cfl(folder / "k"), expected = io::load_cfl(folder / "maps");
    REQUIRE(kspace.data.size() == static_cast<std::size_t>(size.numbers() / 2));
    REQUIRE(expected.data.size() == kspace.data.size());
    std::vector<float> pairs;
    for (const auto& v : kspace.data) {
        pairs.push_back(v.real());
        pairs.push_back(v.imag());
    }
    const auto maps = to_host(b, mri::espirit(b, to_backend(b, pairs, size.numbers(), 1).cview(), size, {.crop = 0.9}));
    const auto pixels = static_cast<std::size_t>(size.pixels());
    std::vector<double> errors;
    std::size_t one_sided = 0, inside = 0;
    for (std::size_t p = 0; p < pixels; ++p) {
        double error = 0, ours = 0, theirs = 0;
        for (std::size_t c = 0; c < 4; ++c) {
            const std::complex<float> v(maps[2 * (c * pixels + p)], maps[2 * (c * pixels + p) + 1]);
            error = std::max(error, double(std::abs(v - expected.data[c * pixels + p])));
            ours += double(std::norm(v));
            theirs += double(std::norm(expected.data[c * pixels + p]));
        }
        if ((ours > 0) != (theirs > 0)) {
            ++one_sided;
        } else if (ours > 0) {
            errors.push_back(error);
            ++inside;
        }
    }
    std::sort(errors.begin(), errors.end());
    std::cout << inside << " pixels inside both, " << one_sided << " inside one; errors: median " << errors[inside / 2]
              << ", 99 % " << errors[inside * 99 / 100] << ", largest " << errors.back() << '\n';
    // BART makes a fixed number of power steps, which leave a thousandth or so where two eigenvalues are near one another;
    // converged maps are compared with SigPy's, to rounding, in the golden test.
    CHECK(inside > pixels / 2);
    CHECK(errors[inside / 2] <= 1e-3);
    CHECK(errors[inside * 9 / 10] <= 1e-2);
    CHECK(one_sided <= pixels / 1000);
}
