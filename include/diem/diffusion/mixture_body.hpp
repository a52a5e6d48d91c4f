// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/core/view.hpp>

/// \file
/// Internal: what a mixture computes for one item, as bodies for `launch`. See `mixture`.

namespace diem::diffusion::detail {

/// A mixture seen at noise level s: component k's covariance is C_k + s^2 I = Q_k diag(l_k + s^2) Q_k', so with
/// p = Q_k' (x - m_k) its log density is a sum over p^2 / (l + s^2), and its denoiser m_k + Q_k (l / (l + s^2) p).
/// In double: the differences of log densities that matter are small beside them.
struct mixture_body {
    index_t features, components;
    const double *log_weight, *mean, *q, *l;

    [[nodiscard]] DIEM_HOST_DEVICE const double* column(index_t k, index_t j) const {
        return q + (k * features + j) * features;
    }
    [[nodiscard]] DIEM_HOST_DEVICE double value(index_t k, index_t j) const { return l[k * features + j]; }

    /// p = Q_k' (x - m_k); returns log(weight_k N(x; m_k, C_k + s^2 I)) + (D / 2) log(2 pi).
    template <class T>
    DIEM_HOST_DEVICE double project(index_t k, const T* x, double s, double* p) const {
        using std::log;
        double log_p = log_weight[k];
        for (index_t j = 0; j < features; ++j) {
            double sum = 0;
            for (index_t i = 0; i < features; ++i)
                sum += column(k, j)[i] * (static_cast<double>(x[i]) - mean[k * features + i]);
            const double e = value(k, j) + s * s;
            log_p -= (sum * sum / e + log(e)) / 2;
            p[j] = sum;
        }
        return log_p;
    }
    /// w_k = posterior weight of component k; returns log p(x) + (D / 2) log(2 pi). p: D numbers of scratch.
    template <class T>
    DIEM_HOST_DEVICE double responsibilities(const T* x, double s, double* w, double* p) const {
        using std::exp;
        using std::log;
        double top = -HUGE_VAL, sum = 0;
        for (index_t k = 0; k < components; ++k) {
            w[k] = project(k, x, s, p);
            if (!(w[k] <= top)) top = w[k];
        }
        for (index_t k = 0; k < components; ++k) sum += w[k] = exp(w[k] - top);
        for (index_t k = 0; k < components; ++k) w[k] /= sum;
        return top + log(sum);
    }
    /// h = m_k + Q_k (l / (l + s^2) Q_k' (x - m_k)). p: D numbers of scratch.
    template <class T>
    DIEM_HOST_DEVICE void component_mean(index_t k, const T* x, double s, double* p, double* h) const {
        (void)project(k, x, s, p);
        for (index_t i = 0; i < features; ++i) h[i] = mean[k * features + i];
        for (index_t j = 0; j < features; ++j) {
            const double g = value(k, j) / (value(k, j) + s * s) * p[j];
            for (index_t i = 0; i < features; ++i) h[i] += g * column(k, j)[i];
        }
    }
    /// x_hat = sum_k w_k h_k. p, h: D numbers of scratch.
    template <class T>
    DIEM_HOST_DEVICE void posterior_mean(const T* x, double s, const double* w, double* p, double* h,
                                         double* x_hat) const {
        for (index_t i = 0; i < features; ++i) x_hat[i] = 0;
        for (index_t k = 0; k < components; ++k) {
            if (w[k] == 0) continue;
            component_mean(k, x, s, p, h);
            for (index_t i = 0; i < features; ++i) x_hat[i] += w[k] * h[i];
        }
    }
    /// jacobian (D x D) = sum_k w_k (Q_k diag(l / (l + s^2)) Q_k' + (h_k - x_hat)(h_k - x_hat)' / s^2).
    template <class T>
    DIEM_HOST_DEVICE void posterior_jacobian(const T* x, double s, const double* w, double* p, double* h,
                                             const double* x_hat, double* jacobian) const {
        const index_t d = features;
        for (index_t i = 0; i < d * d; ++i) jacobian[i] = 0;
        for (index_t k = 0; k < components; ++k) {
            if (w[k] == 0) continue;
            component_mean(k, x, s, p, h);
            for (index_t i = 0; i < d; ++i) h[i] -= x_hat[i];
            add_outer(w[k] / (s * s), h, jacobian);
            for (index_t j = 0; j < d; ++j)
                add_outer(w[k] * value(k, j) / (value(k, j) + s * s), column(k, j), jacobian);
        }
    }

private:
    DIEM_HOST_DEVICE void add_outer(double a, const double* v, double* m) const {
        for (index_t c = 0; c < features; ++c)
            for (index_t r = 0; r < features; ++r) m[c * features + r] += a * (v[c] * v[r]);
    }
};

/// x_hat of item i, and its Jacobian (D x D) where asked.
template <class T>
struct mixture_denoise {
    index_t features, components;
    double sigma;  // meaningful if `shared`
    bool shared, derivative;
    index_t stride_x, stride_y;

    /// Numbers of scratch per item.
    [[nodiscard]] DIEM_HOST_DEVICE index_t work_size() const {
        return components + 3 * features + (derivative ? features * features : 0);
    }
    DIEM_HOST_DEVICE void operator()(index_t i, const double* log_weight, const double* mean, const double* q,
                                     const double* l, const T* levels, const T* x, T* x_hat, T* jacobian,
                                     double* work) const {
        const mixture_body m{features, components, log_weight, mean, q, l};
        const double s = shared ? sigma : static_cast<double>(levels[i]);
        double* const w = work + i * work_size();
        double *const p = w + components, *const h = p + features, *const sum = h + features;
        x += i * stride_x;
        m.responsibilities(x, s, w, p);
        m.posterior_mean(x, s, w, p, h, sum);
        for (index_t j = 0; j < features; ++j) x_hat[i * stride_y + j] = static_cast<T>(sum[j]);
        if (!derivative) return;
        double* const full = sum + features;
        m.posterior_jacobian(x, s, w, p, h, sum, full);
        for (index_t j = 0; j < features * features; ++j)
            jacobian[i * features * features + j] = static_cast<T>(full[j]);
    }
};

/// out_i = log p(x_i).
template <class T>
struct mixture_log_density {
    index_t features, components, stride;
    double sigma;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* log_weight, const double* mean, const double* q,
                                     const double* l, const T* x, double* out, double* work) const {
        const mixture_body m{features, components, log_weight, mean, q, l};
        double* const w = work + i * (components + features);
        out[i] = m.responsibilities(x + i * stride, sigma, w, w + components) -
                 static_cast<double>(features) * (1.8378770664093454836 / 2);  // log(2 pi) / 2 per feature
    }
};

/// x_i = m_k + Q_k sqrt(l_k) z: z the D normals of the key, k from the first uniform that they leave unused.
template <class T>
struct mixture_draw {
    index_t features, components, stride;
    random_key key;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* log_weight, const double* mean, const double* q,
                                     const double* l, T* x, double* work) const {
        using std::exp;
        using std::sqrt;
        const auto item = static_cast<std::uint32_t>(i);
        const mixture_body m{features, components, log_weight, mean, q, l};
        double left = uniform<double>(key, item, static_cast<std::uint32_t>((features + 1) / 2 * 2));
        index_t k = 0;
        while (k + 1 < components && (left -= exp(log_weight[k])) > 0) ++k;
        double* const sum = work + i * features;
        for (index_t j = 0; j < features; ++j) sum[j] = mean[k * features + j];
        for (index_t j = 0; j < features; ++j) {
            const double z = sqrt(m.value(k, j)) * normal<double>(key, item, static_cast<std::uint32_t>(j));
            for (index_t r = 0; r < features; ++r) sum[r] += z * m.column(k, j)[r];
        }
        for (index_t j = 0; j < features; ++j) x[i * stride + j] = static_cast<T>(sum[j]);
    }
};

}  // namespace diem::diffusion::detail
