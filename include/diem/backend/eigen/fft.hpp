// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <Eigen/Core>

#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/fft.hpp>
#include <diem/core/view.hpp>

/// \file
/// Fourier transforms of one axis, as many side by side as a vector register has lanes.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

template <class T>
using fft_packet = typename Eigen::internal::packet_traits<T>::type;
/// Transforms side by side.
template <class T>
inline constexpr index_t fft_lanes = Eigen::internal::unpacket_traits<fft_packet<T>>::size;

/// One complex number of each lane. In memory: the real parts of all lanes, then the imaginary ones.
template <class T>
struct fft_point {
    using packet = fft_packet<T>;
    packet re, im;

    [[gnu::always_inline]] static fft_point load(const T* p) {
        return {Eigen::internal::pload<packet>(p), Eigen::internal::pload<packet>(p + fft_lanes<T>)};
    }
    [[gnu::always_inline]] void store(T* p) const {
        Eigen::internal::pstore(p, re);
        Eigen::internal::pstore(p + fft_lanes<T>, im);
    }
    [[gnu::always_inline]] static packet all(T v) { return Eigen::internal::pset1<packet>(v); }
    [[gnu::always_inline]] friend fft_point operator+(const fft_point& a, const fft_point& b) {
        return {a.re + b.re, a.im + b.im};
    }
    [[gnu::always_inline]] friend fft_point operator-(const fft_point& a, const fft_point& b) {
        return {a.re - b.re, a.im - b.im};
    }
    /// -i a
    [[gnu::always_inline]] friend fft_point turned(const fft_point& a) {
        return {a.im, Eigen::internal::pnegate(a.re)};
    }
    /// w a, w at `p`.
    [[gnu::always_inline]] friend fft_point times(const fft_point& a, const T* p) {
        const packet c = all(p[0]), s = all(p[1]);
        return {a.re * c - a.im * s, a.re * s + a.im * c};
    }
};

/// The forward transform of n points, X_k = sum over j of x_j exp(-2 pi i j k / n), neither centred nor scaled: Stockham's
/// algorithm in decimation of frequency, radices 4, 2, 3, 5, then other primes p by their definition (p / 2 products a point).
/// C. Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992, 1.7. Tables are computed in float64.
template <class T>
class fft_plan {
public:
    explicit fft_plan(index_t n) : size_(n) {
        index_t rest = n, repeat = 1;
        const auto take = [&](index_t radix) {
            while (rest % radix == 0 && rest > 1) {
                rest /= radix;
                stages_.push_back({radix, rest, repeat, tables_.size(), 0});
                add_twiddles(radix, rest);
                stages_.back().roots = tables_.size();
                for (index_t k = 0; k < radix; ++k) add(k, radix, 1);
                repeat *= radix;
                if (radix > 5) scratch_ = std::max(scratch_, 2 * fft_lanes<T> * radix);
            }
        };
        for (const index_t radix : {4, 2, 3, 5}) take(radix);
        for (index_t p = 7; p * p <= rest; p += 2) take(p);
        if (rest > 1) take(rest);
    }

    [[nodiscard]] index_t size() const { return size_; }
    /// Elements of T of the whole transform, and of what `run` needs besides.
    [[nodiscard]] index_t elements() const { return 2 * fft_lanes<T> * size_; }
    [[nodiscard]] index_t scratch() const { return scratch_; }

    /// Transforms `in`, whose points follow one another; the result is in a, in b, or (of one point) in `in`, and is
    /// returned. `in` may be b, and is left alone where it is not.
    const T* run(const T* in, T* a, T* b, T* scratch) const {
        for (const stage& s : stages_) {
            step(s, in, a, scratch);
            in = a;
            std::swap(a, b);
        }
        return in;
    }

private:
    struct stage {
        index_t radix, parts, repeat;
        std::size_t twiddles, roots;
    };
    using point = fft_point<T>;
    static constexpr index_t width = 2 * fft_lanes<T>;

    void add(index_t k, index_t n, double sign) {
        const auto [c, s] = root_of_unity(k % n, n);
        tables_.push_back(static_cast<T>(c));
        tables_.push_back(static_cast<T>(sign * s));
    }
    void add_twiddles(index_t radix, index_t parts) {
        for (index_t p = 0; p < parts; ++p)
            for (index_t k = 1; k < radix; ++k) add(p * k, radix * parts, -1);
    }
    void step(const stage& s, const T* in, T* out, T* scratch) const {
        switch (s.radix) {
            case 2:
                return s.parts == 1 ? step2<true>(s, in, out) : step2<false>(s, in, out);
            case 3:
                return s.parts == 1 ? odd<3, true>(s, in, out, nullptr) : odd<3, false>(s, in, out, nullptr);
            case 4:
                return s.parts == 1 ? step4<true>(s, in, out) : step4<false>(s, in, out);
            case 5:
                return s.parts == 1 ? odd<5, true>(s, in, out, nullptr) : odd<5, false>(s, in, out, nullptr);
            default:
                return s.parts == 1 ? odd<0, true>(s, in, out, scratch) : odd<0, false>(s, in, out, scratch);
        }
    }
    /// `Last`: one part, all twiddles are 1.
    template <bool Last>
    [[gnu::always_inline]] static void put(const point& v, const T* twiddle, T* to) {
        if constexpr (Last)
            v.store(to);
        else
            times(v, twiddle).store(to);
    }
    template <bool Last>
    void step2(const stage& s, const T* in, T* out) const {
        const index_t jump = width * s.repeat;
        for (index_t p = 0; p < s.parts; ++p) {
            const T *const w = tables_.data() + s.twiddles + 2 * p, *const x = in + p * jump;
            T* const y = out + 2 * p * jump;
            for (index_t q = 0; q < jump; q += width) {
                const point a = point::load(x + q), b = point::load(x + s.parts * jump + q);
                (a + b).store(y + q);
                put<Last>(a - b, w, y + jump + q);
            }
        }
    }
    template <bool Last>
    void step4(const stage& s, const T* in, T* out) const {
        const index_t jump = width * s.repeat, apart = s.parts * jump;
        for (index_t p = 0; p < s.parts; ++p) {
            const T *const w = tables_.data() + s.twiddles + 6 * p, *const x = in + p * jump;
            T* const y = out + 4 * p * jump;
            for (index_t q = 0; q < jump; q += width) {
                const point a = point::load(x + q), b = point::load(x + apart + q);
                const point c = point::load(x + 2 * apart + q), d = point::load(x + 3 * apart + q);
                const point even = a + c, odd = a - c, sum = b + d, turn = turned(b - d);
                (even + sum).store(y + q);
                put<Last>(odd + turn, w, y + jump + q);
                put<Last>(even - sum, w + 2, y + 2 * jump + q);
                put<Last>(odd - turn, w + 4, y + 3 * jump + q);
            }
        }
    }
    /// An odd radix R, or s.radix where R is 0. With a_j = x_j + x_-j and b_j = x_j - x_-j,
    /// y_k = x_0 + sum over j of a_j cos(2 pi j k / R) - i b_j sin(2 pi j k / R), and y_-k the same with + i.
    template <int R, bool Last>
    void odd(const stage& s, const T* in, T* out, T* scratch) const {
        const index_t radix = R > 0 ? R : s.radix, half = (radix - 1) / 2;
        const index_t jump = width * s.repeat, apart = s.parts * jump;
        const T* const root = tables_.data() + s.roots;
        point fixed[R > 0 ? R - 1 : 1];
        const auto keep = [&](index_t k, const point& v) {
            R > 0 ? void(fixed[R > 0 ? k : 0] = v) : v.store(scratch + k * width);
        };
        const auto kept = [&](index_t k) { return R > 0 ? fixed[R > 0 ? k : 0] : point::load(scratch + k * width); };
        for (index_t p = 0; p < s.parts; ++p) {
            const T *const w = tables_.data() + s.twiddles + 2 * (radix - 1) * p, *const x = in + p * jump;
            T* const y = out + radix * p * jump;
            for (index_t q = 0; q < jump; q += width) {
                const point first = point::load(x + q);
                point sum = first;
                for (index_t j = 1; j <= half; ++j) {
                    const point u = point::load(x + j * apart + q), v = point::load(x + (radix - j) * apart + q);
                    keep(2 * j - 2, u + v);
                    keep(2 * j - 1, u - v);
                    sum = sum + (u + v);
                }
                sum.store(y + q);
                for (index_t k = 1; k <= half; ++k) {
                    point a = first, b{point::all(T(0)), point::all(T(0))};
                    index_t power = 0;
                    for (index_t j = 1; j <= half; ++j) {
                        power = R > 0 ? j * k % radix : power + k < radix ? power + k : power + k - radix;
                        const auto c = point::all(root[2 * power]), d = point::all(root[2 * power + 1]);
                        const point u = kept(2 * j - 2), v = kept(2 * j - 1);
                        a = {a.re + u.re * c, a.im + u.im * c};
                        b = {b.re + v.re * d, b.im + v.im * d};
                    }
                    b = turned(b);
                    put<Last>(a + b, w + 2 * (k - 1), y + k * jump + q);
                    put<Last>(a - b, w + 2 * (radix - k - 1), y + (radix - k) * jump + q);
                }
            }
        }
    }

    index_t size_, scratch_ = 0;
    std::vector<stage> stages_;
    std::vector<T> tables_;
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
