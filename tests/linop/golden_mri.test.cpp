// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>
#include <vector>

#include <diem/linop/fourier.hpp>
#include <diem/linop/mri.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using namespace diem::test;

TEMPLATE_TEST_CASE("golden mri", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    for (auto& file : golden_files("mri")) {
        const auto shape = file.input<T>("x").shape;
        const auto extent = [&](std::size_t axis) { return static_cast<index_t>(shape.at(axis)); };
        const index_t items = extent(0), height = extent(1), width = extent(2);
        const auto input = [&](const char* name) {
            const auto host = file.input<T>(name);
            return to_backend(b, host.data, static_cast<index_t>(host.data.size()) / items, items);
        };
        const auto mask = input("mask"), coils = input("coils");
        const auto run = [&](const auto& a, bool adjoint, const char* in, const char* out) {
            const auto x = input(in);
            batch<B> y(b, adjoint ? a.cols() : a.rows(), items);
            adjoint ? a.apply_adjoint(b, x.view(), y.view()) : a.apply(b, x.view(), y.view());
            check_golden(file, out, to_host(b, y));
        };
        const linop::fourier f(height, width);
        run(f, false, "x_complex", "fft2c");
        run(f, true, "x_complex", "ifft2c");
        const linop::mri<B> one(b, height, width, numbers::per_item(mask));
        run(one, false, "x", "Ax");
        run(one, true, "y", "Aty");
        const linop::sense<B> many(b, height, width, numbers::per_item(mask), numbers::per_item(coils));
        run(many, false, "x_complex", "sense_Ax");
        run(many, true, "y_coils", "sense_Aty");
    }
}
