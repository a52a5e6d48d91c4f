// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

namespace diem::metrics::detail {

/// e^x for x between `lowest` and `highest`, to about one unit in the last place; x is first brought into that range. NaN
/// stays NaN. x = n log 2 + r, |r| <= log 2 / 2; e^r by the polynomial through the Chebyshev nodes of that interval
/// (relative error 4e-18, float 3e-9), 2^n by its bits. No call and no branch. The bounds have loops of their own:
/// where they stand before the polynomial, compilers make them branches and vectorise nothing.
template <std::floating_point T>
struct bounded_exp {
    static constexpr bool wide = sizeof(T) == 8;
    static constexpr T lowest = wide ? T(-700) : T(-86);
    static constexpr T highest = wide ? T(700) : T(88);

    /// x[k] = e^x[k], k = 0 .. N - 1.
    template <index_t N>
    DIEM_HOST_DEVICE static void apply(T* x) {
        for (index_t k = 0; k < N; ++k) x[k] = lowest > x[k] ? lowest : x[k];
        for (index_t k = 0; k < N; ++k) x[k] = highest < x[k] ? highest : x[k];
        for (index_t k = 0; k < N; ++k) x[k] = within_bounds(x[k]);
    }

private:
    DIEM_HOST_DEVICE static T within_bounds(T x) {
        using integer = std::conditional_t<wide, std::uint64_t, std::uint32_t>;
        constexpr T shift = wide ? T(0x1.8p52) : T(0x1.8p23);  // adding it rounds to an integer, in the low bits
        constexpr T high = wide ? T(6.93147180369123816490e-01) : T(0.693359375);
        constexpr T low = wide ? T(1.90821492927058770002e-10) : T(-2.12194440054690583e-4);
        const T t = x * T(1.4426950408889634074) + shift;
        const T n = t - shift;
        const T r = (x - n * high) - n * low;
        integer bits;
        std::memcpy(&bits, &t, sizeof(T));
        bits = (bits + integer(wide ? 1023 : 127)) << (wide ? 52 : 23);
        T power;
        std::memcpy(&power, &bits, sizeof(T));
        return polynomial(r) * power;
    }
    DIEM_HOST_DEVICE static T polynomial(T r) {
        if constexpr (wide) {
            T p = 2.5110037605963777712e-8;
            p = p * r + 2.7632639639041029749e-7;
            p = p * r + 2.7557240918578969823e-6;
            p = p * r + 2.4801485482328492419e-5;
            p = p * r + 1.9841269890047113707e-4;
            p = p * r + 1.3888888952314774652e-3;
            p = p * r + 8.3333333333196006109e-3;
            p = p * r + 4.1666666666488095495e-2;
            p = p * r + 0.16666666666666680806;
            p = p * r + 0.50000000000000183855;
            p = p * r + 0.99999999999999999976;
            return p * r + 1.0;
        } else {
            T p = 1.3941108433972674608e-3f;
            p = p * r + 8.3751263981533356820e-3f;
            p = p * r + 4.1666352896775156786e-2f;
            p = p * r + 0.16666415514653275427f;
            p = p * r + 0.50000000471177576744f;
            p = p * r + 1.0000000377162138425f;
            return p * r + 1.0f;
        }
    }
};

}  // namespace diem::metrics::detail
