// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/data.hpp>
#include <diem/linop/diagonal.hpp>

/// \file
/// Measurements y_i = f_i(x_i) that are not linear, with their derivatives: what `posterior::mmps` linearises at x_hat.
/// \snippet tests/examples/linop.cpp linop/nonlinear.hpp

namespace diem::linop {

/// Opt-in tag of `NonlinearOperator`, in the place of `linear_tag`.
struct nonlinear_tag {};

/// f at x: f(x), and H = f'(x) as a `LinearOperator` that bears any number of products.
template <Backend B, class H>
struct linearized {
    batch<B> value;  ///< rows x n
    H derivative;
};

/// y_i = f_i(x_i) for each item i of a batch. `rows()`, `cols()`, `items()`, `apply` and `items(first, count)` are those of a
/// `LinearOperator`, and views may be strided likewise.
///
/// `linearize(b, x)`  a `linearized`; x may be changed afterwards. Its value is that of `apply`.
/// `testing::check_nonlinear_operator` tries all of it. What is no derivative, such as 1 for that of rounding, is a choice of
/// the operator, which its docstring names.
template <class F, class B>
concept NonlinearOperator = Backend<B> && std::same_as<typename F::operator_tag, nonlinear_tag> &&
                            requires(const F& f, B& b, const_view_t<B> x, view_t<B> y, index_t n) {
                                { f.rows() } -> std::convertible_to<index_t>;
                                { f.cols() } -> std::convertible_to<index_t>;
                                { f.items() } -> std::convertible_to<index_t>;
                                f.apply(b, x, y);
                                f.items(n, n).apply(b, x, y);
                                { f.linearize(b, x).value } -> std::convertible_to<const batch<B>&>;
                                requires LinearOperator<std::remove_cvref_t<decltype(f.linearize(b, x).derivative)>, B>;
                            };

/// What an observation may be made by.
template <class A, class B>
concept ForwardOperator = LinearOperator<A, B> || NonlinearOperator<A, B>;

/// A at x, whichever it is: a linear A is its own derivative, to which the result refers. x: cols x n.
template <Backend B, ForwardOperator<B> A>
[[nodiscard]] auto linearize(B& b, const A& a, const_view_t<B> x) {
    if constexpr (LinearOperator<A, B>) {
        linearized<B, const A&> out{batch<B>(b, a.rows(), x.items()), a};
        a.apply(b, x, out.value.view());
        return out;
    } else {
        return a.linearize(b, x);
    }
}

namespace detail {

/// Index: item.
template <class F>
struct pointwise_row {
    F f;
    index_t features, x_stride, y_stride, slope_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y, T* slope) const {
        for (index_t j = 0; j < features; ++j) f(x[i * x_stride + j], y[i * y_stride + j], slope[i * slope_stride + j]);
    }
};
struct magnitude_row {
    index_t features, x_stride, y_stride, unit_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y, T* unit) const {
        using std::hypot;
        const T* z = x + i * x_stride;
        T* u = unit + i * unit_stride;
        for (index_t j = 0; j < features; ++j) {
            const T length = hypot(z[2 * j], z[2 * j + 1]), by = length > 0 ? 1 / length : T(0);
            y[i * y_stride + j] = length;
            u[2 * j] = z[2 * j] * by;
            u[2 * j + 1] = z[2 * j + 1] * by;
        }
    }
};
/// y_j = u_j . x_j, or x_j = u_j y_j, for pairs of numbers.
struct along_units {
    index_t features, unit_stride, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* u, const T* x, T* y) const {
        for (index_t j = 0; j < features; ++j)
            y[i * y_stride + j] = u[i * unit_stride + 2 * j] * x[i * x_stride + 2 * j] +
                                  u[i * unit_stride + 2 * j + 1] * x[i * x_stride + 2 * j + 1];
    }
};
struct times_units {
    index_t features, unit_stride, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* u, const T* y, T* x) const {
        for (index_t j = 0; j < 2 * features; ++j)
            x[i * x_stride + j] = u[i * unit_stride + j] * y[i * y_stride + j / 2];
    }
};

}  // namespace detail

/// y_j = f(x_j), with the slope f'(x_j). `F`: (x, y&, slope&) of scalars, for all backends.
template <class F>
class pointwise {
public:
    using operator_tag = nonlinear_tag;
    explicit pointwise(index_t size, F f = {}) : size_(size), f_(std::move(f)) {
        check_value("pointwise", size >= 0, "size is negative");
    }
    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] pointwise items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        (void)run(b, x, y);
    }
    template <Backend B>
    [[nodiscard]] linearized<B, diagonal<B>> linearize(B& b, const_view_t<B> x) const {
        batch<B> y(b, size_, x.items());
        auto slope = run(b, x, y.view());
        return {std::move(y), diagonal<B>::per_item(std::move(slope))};
    }

private:
    template <Backend B>
    batch<B> run(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("pointwise", *this, x, y);
        batch<B> slope(b, size_, x.items());
        b.launch(x.items(), 4 * size_,
                 detail::pointwise_row<F>{f_, size_, x.stride(), y.stride(), slope.view().stride()}, x.data(), y.data(),
                 slope.view().data());
        return slope;
    }
    index_t size_;
    F f_;
};

/// y = gain x, brought into [low, high]: a sensor that saturates (high dynamic range). The slope beyond is 0.
struct clip_values {
    double gain = 1, low = -2, high = 2;
    template <class T>
    DIEM_HOST_DEVICE void operator()(T x, T& y, T& slope) const {
        const T value = static_cast<T>(gain) * x, bottom = static_cast<T>(low), top = static_cast<T>(high);
        y = value < bottom ? bottom : (value > top ? top : value);
        slope = value < bottom || value > top ? T(0) : static_cast<T>(gain);
    }
};
using clipping = pointwise<clip_values>;

/// y = x to the nearest whole number. Its derivative is 0 where there is one; `linearize` takes 1, that of x itself (the
/// straight-through estimate), with which y = x + e is right for an e of variance 1 / 12.
struct round_values {
    template <class T>
    DIEM_HOST_DEVICE void operator()(T x, T& y, T& slope) const {
        using std::round;
        y = round(x);
        slope = T(1);
    }
};
using rounding = pointwise<round_values>;

/// The derivative of `magnitude`: rows z / |z|.
template <Backend B>
class magnitude_derivative {
public:
    using operator_tag = linear_tag;
    /// units: 2 n x items, pairs of length 1 or 0.
    explicit magnitude_derivative(item_data<B> units) : units_(std::move(units)) {}
    [[nodiscard]] index_t rows() const { return units_.features() / 2; }
    [[nodiscard]] index_t cols() const { return units_.features(); }
    [[nodiscard]] index_t items() const { return units_.items(); }
    [[nodiscard]] magnitude_derivative items(index_t first, index_t count) const {
        check_slice("magnitude", items(), first, count);
        return magnitude_derivative(units_.items(first, count));
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("magnitude", *this, x, y);
        b.launch(x.items(), cols(), detail::along_units{rows(), units_.view().stride(), x.stride(), y.stride()},
                 units_.view().data(), x.data(), y.data());
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("magnitude (adjoint)", *this, y, x);
        b.launch(x.items(), cols(), detail::times_units{rows(), units_.view().stride(), x.stride(), y.stride()},
                 units_.view().data(), y.data(), x.data());
    }

private:
    item_data<B> units_;
};

/// y_j = |z_j| of complex numbers z, pairs (re, im): what a measurement without phases keeps. The derivative at 0 is taken
/// as 0.
class magnitude {
public:
    using operator_tag = nonlinear_tag;
    /// Of so many complex numbers.
    explicit magnitude(index_t count) : count_(count) { check_value("magnitude", count >= 0, "count is negative"); }
    [[nodiscard]] index_t rows() const { return count_; }
    [[nodiscard]] index_t cols() const { return 2 * count_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] magnitude items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        (void)run(b, x, y);
    }
    template <Backend B>
    [[nodiscard]] linearized<B, magnitude_derivative<B>> linearize(B& b, const_view_t<B> x) const {
        batch<B> y(b, count_, x.items());
        auto units = run(b, x, y.view());
        return {std::move(y), magnitude_derivative<B>(item_data<B>(std::move(units)))};
    }

private:
    template <Backend B>
    batch<B> run(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("magnitude", *this, x, y);
        batch<B> units(b, cols(), x.items());
        b.launch(x.items(), 8 * count_, detail::magnitude_row{count_, x.stride(), y.stride(), units.view().stride()},
                 x.data(), y.data(), units.view().data());
        return units;
    }
    index_t count_;
};

/// x -> f(a(x)): linear and other operators in turn; its derivative is the product of theirs.
template <class F, class A>
class chained {
public:
    using operator_tag = nonlinear_tag;
    chained(F f, A a) : f_(std::move(f)), a_(std::move(a)), items_(joint_items("after", f_.items(), a_.items())) {
        check_size("after", "values that the second operator makes", a_.rows(), f_.cols());
    }
    [[nodiscard]] index_t rows() const { return f_.rows(); }
    [[nodiscard]] index_t cols() const { return a_.cols(); }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::chained<decltype(f_.items(first, count)), decltype(a_.items(first, count))>(
            f_.items(first, count), a_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("after", *this, x, y);
        batch<B> middle(b, a_.rows(), x.items());
        a_.apply(b, x, middle.view());
        f_.apply(b, middle.cview(), y);
    }
    template <Backend B>
    [[nodiscard]] auto linearize(B& b, const_view_t<B> x) const {
        auto inner = linop::linearize(b, a_, x);
        auto outer = linop::linearize(b, f_, inner.value.cview());
        auto derivative = compose(outer.derivative, inner.derivative);
        return linearized<B, decltype(derivative)>{std::move(outer.value), std::move(derivative)};
    }

private:
    F f_;
    A a_;
    index_t items_;
};
/// f after a.
template <class F, class A>
[[nodiscard]] chained<F, A> after(F f, A a) {
    return {std::move(f), std::move(a)};
}

}  // namespace diem::linop
