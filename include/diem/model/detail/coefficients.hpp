// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/model/parameterization.hpp>

namespace diem::model::detail {

/// The numbers of a parameterization, for host and device; `rest`: the variance whose denoiser c_skip x_t is.
struct coefficient_rule {
    prediction predicts;
    input_scale input;
    noise_label label;
    double sigma_data, rest, scale, reference, beta_d, beta_min, steps;
    index_t entries;  // of the table, log sigma

    coefficient_rule(const parameterization& p, double d, double r)
        : predicts(p.predicts), input(p.input), label(p.label), sigma_data(d), rest(r), scale(p.scale),
          reference(p.reference), beta_d(p.beta_d), beta_min(p.beta_min), steps(p.steps),
          entries(static_cast<index_t>(p.sigmas.size())) {}

    [[nodiscard]] DIEM_HOST_DEVICE double noise(double s, const double* table) const {
        using std::log;
        using std::log1p;
        using std::sqrt;
        if (label == noise_label::logarithm) return scale * log(s / reference);
        if (label == noise_label::linear_vp)
            return steps * (sqrt(beta_min * beta_min + 2 * beta_d * log1p(s * s)) - beta_min) / beta_d;
        const double v = log(s);
        if (!(v > table[0])) return 0;
        if (v >= table[entries - 1]) return static_cast<double>(entries - 1);
        index_t low = 0, high = entries - 1;
        while (high - low > 1) {
            const index_t middle = (low + high) / 2;
            (table[middle] <= v ? low : high) = middle;
        }
        return static_cast<double>(low) + (v - table[low]) / (table[high] - table[low]);
    }
};

/// c_skip, c_out, c_in, c_in c_out, c_noise of a parameterization.
struct coefficients {
    double skip, out, in, in_out, noise;
    DIEM_HOST_DEVICE static coefficients of(double s, const coefficient_rule& rule, const double* table) {
        using std::sqrt;
        const double d = rule.sigma_data, root = 1 / sqrt(s * s + d * d), vp = 1 / sqrt(s * s + 1);
        coefficients c{};
        c.in = rule.input == input_scale::residual ? root : rule.input == input_scale::preserving ? vp : 1;
        switch (rule.predicts) {
            case prediction::residual:
                c.skip = rule.rest / (s * s + rule.rest);
                c.out = s * d * root;
                break;
            case prediction::noise:
                c.skip = 1;
                c.out = -s;
                break;
            case prediction::score:
                c.skip = 1;
                c.out = s;
                break;
            case prediction::velocity:
                c.skip = vp * vp;
                c.out = -s * vp;
                break;
            case prediction::data:
                c.out = 1;
                break;
        }
        c.in_out = c.in * c.out;
        c.noise = rule.noise(s, table);
        return c;
    }
};
template <class T>
struct coefficients_body {
    coefficient_rule rule;
    index_t items;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* sigma, const double* logs, double* table, T* noise) const {
        const coefficients c = coefficients::of(static_cast<double>(sigma[i]), rule, logs);
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
    /// Also gives c_noise, 1 x (1 or items). `logs`: log sigma of a parameterization's table.
    coefficient_table(B& b, diffusion::noise_level<B> sigma, const coefficient_rule& rule,
                      const std::vector<double>& logs, batch<B>& noise) {
        using T = scalar_t<B>;
        if (sigma.shared()) {
            check_positive("model::preconditioned", "sigma", sigma.common());
            common_ = coefficients::of(sigma.common(), rule, logs.data());
            noise = batch<B>(b, 1, 1);
            b.fill(noise.view(), static_cast<T>(common_.noise));
        } else {
            const index_t n = sigma.per_item().size();
            shared_ = false;
            table_ = batch<B, double>(b, n, 4);
            noise = batch<B>(b, 1, n);
            batch<B, double> there(b, rule.entries, 1);
            if (rule.entries > 0) b.upload(host_view<const double>(logs.data(), rule.entries, 1), there.view());
            b.launch(n, 64, coefficients_body<T>{rule, n}, sigma.per_item().data(), there.cview().data(),
                     table_.view().data(), noise.view().data());
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
