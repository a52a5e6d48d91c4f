// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>

namespace diem::model::detail {

/// c_skip = r / (s^2 + r), c_out = s d / sqrt(s^2 + d^2), c_in = 1 / sqrt(s^2 + d^2), c_in c_out, c_noise = log s.
struct coefficients {
    double skip, out, in, in_out, noise;
    DIEM_HOST_DEVICE static coefficients of(double s, double d, double rest) {
        using std::log;
        using std::sqrt;
        const double sum = s * s + d * d, in = 1 / sqrt(sum);
        return {rest / (s * s + rest), s * d * in, in, s * d / sum, log(s)};
    }
};
template <class T>
struct coefficients_body {
    double sigma_data, rest;
    index_t items;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* sigma, double* table, T* noise) const {
        const coefficients c = coefficients::of(static_cast<double>(sigma[i]), sigma_data, rest);
        table[i] = c.skip;
        table[items + i] = c.out;
        table[2 * items + i] = c.in;
        table[3 * items + i] = c.in_out;
        noise[i] = static_cast<T>(c.noise);
    }
};

/// The coefficients of a batch: numbers on the host, or one per item in the backend's memory.
template <Backend B>
class coefficient_table {
public:
    enum row { skip, out, in, in_out };
    coefficient_table() = default;
    /// Also gives c_noise, 1 x (1 or items).
    coefficient_table(B& b, diffusion::noise_level<B> sigma, double sigma_data, double rest, batch<B>& noise) {
        using T = scalar_t<B>;
        if (sigma.shared()) {
            check_positive("model::preconditioned", "sigma", sigma.common());
            common_ = coefficients::of(sigma.common(), sigma_data, rest);
            noise = batch<B>(b, 1, 1);
            b.fill(noise.view(), static_cast<T>(common_.noise));
        } else {
            const index_t n = sigma.per_item().size();
            shared_ = false;
            table_ = batch<B, double>(b, n, 4);
            noise = batch<B>(b, 1, n);
            b.launch(n, 64, coefficients_body<T>{sigma_data, rest, n}, sigma.per_item().data(), table_.view().data(),
                     noise.view().data());
        }
    }
    /// y = c_a x + c_b y, by item.
    void combine(B& b, row a, const_view_t<B> x, row c, view_t<B> y) const {
        if (shared_)
            b.axpby(number(a), x, number(c), y);
        else
            b.axpby(column(a), x, column(c), y);
    }
    /// y = c_a x.
    void scale(B& b, row a, const_view_t<B> x, view_t<B> y) const {
        if (shared_)
            b.axpby(number(a), x, 0.0, y);
        else
            b.axpby(column(a), x, 0.0, y);
    }

private:
    [[nodiscard]] double number(row r) const {
        return r == skip ? common_.skip : r == out ? common_.out : r == in ? common_.in : common_.in_out;
    }
    [[nodiscard]] const_vector_t<B, double> column(row r) const {
        return {table_.view().data() + static_cast<index_t>(r) * table_.features(), table_.features()};
    }
    bool shared_ = true;
    coefficients common_{};
    batch<B, double> table_;
};
}  // namespace diem::model::detail
