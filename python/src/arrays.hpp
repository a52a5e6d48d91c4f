// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <diem/io/json.hpp>

#include "told.hpp"

/// Arrays, options, callables and signals between Python and the library. diem/_arrays.py brings what users give to these types.
namespace python {

namespace nb = nanobind;
using diem::index_t;
using shape_type = diem::io::shape_type;
using floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using target = nb::ndarray<float, nb::c_contig, nb::device::cpu>;  ///< where a result is written
using image = std::optional<support::image_shape>;

[[nodiscard]] shape_type shape_of(const floats& a);
/// (items, ...) as features x items. Throws shape_error where there are no items, or `features` (any: -1) are others.
[[nodiscard]] in batch_of(const floats& a, const std::string& name, index_t features = -1);
/// A read-only view of a batch, (items, item...), good while the batch is; flat items where `item` does not fit. With the GIL.
[[nodiscard]] nb::object view_of(in batch, const shape_type& item);
/// Copies what a callable of that name returned. With the GIL. Throws shape_error.
void take(const nb::object& result, const std::string& name, out to);

/// What `fit` and `posterior` are given: a configuration, the arrays that it names, y among them, and an operator of two callables.
struct problem {
    using product = std::function<nb::object(nb::object, nb::slice)>;    ///< of a view and its items
    using functions = std::tuple<product, product, shape_type, bool>;    ///< A, A', shape of x, whether items differ
    using arrays_type = std::map<std::string, std::pair<floats, bool>>;  ///< true: complex numbers, as pairs
    problem(const std::string& text, arrays_type named, std::optional<functions> own)
        : config(diem::io::json::parse(text)), arrays(std::move(named)), callables(std::move(own)) {}

    [[nodiscard]] const floats& y() const { return arrays.at("y").first; }
    [[nodiscard]] bool is_complex() const { return arrays.at("y").second; }
    /// Observations in memory, by the program's own code. Throws what it throws, naming arrays as they are named here.
    [[nodiscard]] program::measured<backend> measure(backend& b, program::operator_description& d,
                                                     program::sigma_source& sigma, const image& im) const;

    diem::io::json config;
    arrays_type arrays;
    std::optional<functions> callables;
};

/// Tells a callable how far a call is, and whether Python has signals for it: what is raised there stops the call. Used without
/// the GIL.
class watcher {
public:
    /// (stage, lap, done, total, figure), or null.
    using told = std::function<void(const char*, index_t, index_t, index_t, double)>;
    explicit watcher(told progress) : progress_(std::move(progress)) {}
    /// False where the call should end.
    bool tell(const char* stage, index_t lap, index_t done, index_t total, double figure);
    /// warnings.warn. Throws where a warning is an error.
    void warn(const std::vector<std::string>& texts);
    /// Runs f() with the GIL, keeping what it throws; f returns whether to go on.
    template <class F>
    bool with_python(const F& f) {
        const nb::gil_scoped_acquire gil;
        try {
            if (!error_ && !f()) cancel = true;
        } catch (...) {
            error_ = std::current_exception();
            cancel = true;
        }
        return !cancel;
    }
    /// What was raised there is raised here.
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }
    std::atomic<bool> cancel = false;

private:
    told progress_;
    std::exception_ptr error_;
};

}  // namespace python
