// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <complex>
#include <string>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/mri/coil_matrix.hpp>

/// \file
/// Fewer, virtual coils.
/// \snippet tests/examples/mri.cpp mri/coil_compression.hpp

namespace diem::mri {

/// Fewer, virtual coils that hold most of the signal.
struct coil_compression {
    coil_matrix matrix;            ///< virtual coils x coils, rows orthonormal; apply it by `mix_coils`
    std::vector<double> energies;  ///< of all virtual coils, those left out too, descending: squared singular values
    /// Share of the energy that is kept: 1 where all is, or there is none.
    [[nodiscard]] double kept() const {
        double all = 0, part = 0;
        for (std::size_t k = 0; k < energies.size(); ++k) {
            all += energies[k];
            if (static_cast<index_t>(k) < matrix.rows) part += energies[k];
        }
        return all > 0 ? part / all : 1;
    }
};

namespace detail {

/// The orthonormal eigenvectors of a Hermitian matrix as rows, conjugated, largest eigenvalue first, and the eigenvalues.
inline coil_compression hermitian_eigenvectors(const coil_matrix& h) {
    // The real form of (2 n) x (2 n) has every eigenvalue twice, with u and i u and what mixes them. One vector of each pair is
    // taken, what it has in common with those before removed.
    const index_t n = h.rows, m = 2 * n;
    std::vector<double> a(static_cast<std::size_t>(m * m)), w(static_cast<std::size_t>(m));
    for (index_t r = 0; r < n; ++r)
        for (index_t c = 0; c < n; ++c) {
            double* const block = a.data() + 2 * c * m + 2 * r;
            block[0] = block[m + 1] = h(r, c).real();
            block[1] = h(r, c).imag();
            block[m] = -h(r, c).imag();
        }
    reference_backend<double>().eigh(host_view<double>(a.data(), m, m), host_vector<double>(w.data(), m));
    coil_compression out;
    out.matrix = coil_matrix(n, n);
    index_t found = 0;
    for (index_t k = m - 1; k >= 0 && found < n; --k) {
        std::vector<std::complex<double>> u(static_cast<std::size_t>(n));
        for (index_t c = 0; c < n; ++c)
            u[static_cast<std::size_t>(c)] = {a[static_cast<std::size_t>(k * m + 2 * c)],
                                              a[static_cast<std::size_t>(k * m + 2 * c + 1)]};
        double left = 1;
        for (int pass = 0; pass < 2; ++pass) {
            for (index_t r = 0; r < found; ++r) {
                std::complex<double> common = 0;
                for (index_t c = 0; c < n; ++c) common += out.matrix(r, c) * u[static_cast<std::size_t>(c)];
                for (index_t c = 0; c < n; ++c) u[static_cast<std::size_t>(c)] -= common * std::conj(out.matrix(r, c));
            }
            left = 0;
            for (const auto& v : u) left += std::norm(v);
            // 2 n vectors of norm 1 with less than this each could not span what is left of n complex dimensions.
            if (left < 1 / static_cast<double>(m)) break;
        }
        if (left < 1 / static_cast<double>(m)) continue;
        for (index_t c = 0; c < n; ++c)
            out.matrix(found, c) = std::conj(u[static_cast<std::size_t>(c)]) / std::sqrt(left);
        out.energies.push_back(std::max(0.0, w[static_cast<std::size_t>(k)]));
        ++found;
    }
    return out;
}

}  // namespace detail

/// The `virtual_coils` combinations of coils with most energy: the left singular vectors of k-space as a matrix of coils x
/// samples, all slices together. Whiten first: a loud coil would else count for more than a quiet one. Row k is fixed to the
/// phase where its largest number is real.
/// kspace: (coils, samples, 2) an item. Throws shape_error where an item has another size; value_error where virtual_coils is not
/// 1 .. coils, or k-space is not finite.
/// M. Buehrer et al., Array compression for MRI with large coil arrays, 2007.
template <Backend B>
[[nodiscard]] coil_compression compress_coils(B& b, const_view_t<B> kspace, const kspace_size& size,
                                              index_t virtual_coils) {
    detail::check_kspace("compress_coils", size, kspace);
    check_value("compress_coils", virtual_coils >= 1 && virtual_coils <= size.coils,
                "virtual_coils is " + std::to_string(virtual_coils) + ", expected 1 .. " + std::to_string(size.coils));
    linop::check_entries<linop::finite_entry>("compress_coils", b, "kspace", kspace);
    coil_matrix all(size.coils, size.coils);
    for (index_t i = 0; i < kspace.items(); ++i) {
        const coil_matrix part = detail::gram<B>(b, kspace.item_range(i, 1), size.coils);
        for (std::size_t k = 0; k < part.values.size(); ++k) all.values[k] += part.values[k];
    }
    coil_compression out = detail::hermitian_eigenvectors(all);
    coil_matrix rows(virtual_coils, size.coils);
    for (index_t r = 0; r < virtual_coils; ++r) {
        index_t largest = 0;
        for (index_t c = 1; c < size.coils; ++c)
            if (std::abs(out.matrix(r, c)) > 1.0000001 * std::abs(out.matrix(r, largest))) largest = c;
        const auto phase = std::conj(out.matrix(r, largest)) / std::abs(out.matrix(r, largest));
        for (index_t c = 0; c < size.coils; ++c) rows(r, c) = out.matrix(r, c) * phase;
    }
    out.matrix = std::move(rows);
    return out;
}

}  // namespace diem::mri
