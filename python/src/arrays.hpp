// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <diem/io/json.hpp>

#include "own_model.hpp"

/// Arrays, options, callables and signals between Python and the library.
namespace python {

namespace nb = nanobind;
using diem::index_t;
using shape_type = diem::io::shape_type;
using floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using float_target = nb::ndarray<float, nb::numpy, nb::c_contig, nb::device::cpu>;
/// Of an item.
using image = std::optional<support::image_shape>;

/// What has the buffer protocol or DLPack: as it lies where it is float32 in C order, else other real numbers converted. Throws
/// TypeError, naming `name`.
[[nodiscard]] floats as_floats(nb::handle object, const std::string& name);
[[nodiscard]] shape_type shape_of(const floats& a);
/// (items, ...) as features x items. Throws shape_error where there are no items, or `features` (any: -1) are others.
[[nodiscard]] in batch_of(const floats& a, const std::string& name, index_t features = -1);

/// A new array of NumPy, or `given`, which must be one of this shape, writable, in C order, of float32. Throws TypeError, shape_error.
[[nodiscard]] float_target result_array(const shape_type& shape, nb::handle given = nb::none());
/// (items, features), or the shape of images.
[[nodiscard]] shape_type items_of(index_t items, index_t features, const image& im);

/// A read-only view of a batch, (items, item...), good while the batch is; flat items where `item` does not fit. With the GIL.
[[nodiscard]] nb::object view_of(in batch, const shape_type& item);
/// Copies what a callable returned; `name`: of the callable. With the GIL. Throws TypeError, shape_error.
void take(nb::handle result, const std::string& name, out to);
/// Items of `from`, as many and as large.
inline void copy_items(in from, out to) {
    for (index_t i = 0; i < to.items(); ++i)
        std::copy_n(from.data() + i * from.stride(), to.features(), to.data() + i * to.stride());
}
inline void multiply(float* values, index_t size, double factor) {
    if (factor == 1) return;
    for (index_t k = 0; k < size; ++k) values[k] = static_cast<float>(static_cast<double>(values[k]) * factor);
}
/// A Python object that may be copied, and dropped, without the GIL.
[[nodiscard]] std::shared_ptr<nb::object> hold(nb::object object);

/// JSON of dicts, lists, numbers, strings and paths. Arrays are put aside: their place is taken by a name that tells where they
/// were, which `reader` knows.
class described {
public:
    /// `name`: where it is, before its keys. Throws TypeError.
    explicit described(nb::handle object, const std::string& name = {}) : json_(convert(object, name)) {}
    [[nodiscard]] const diem::io::json& json() const { return json_; }
    /// What was put aside, else a file.
    [[nodiscard]] support::array_reader reader() const;

private:
    diem::io::json convert(nb::handle object, const std::string& path);
    std::map<std::string, diem::io::array<float>> arrays_;
    diem::io::json json_;
};
[[nodiscard]] nb::object to_python(const diem::io::json& value);

/// Two callables in the place of an operator's description: none where `object` has no `apply` and `adjoint`. y: (items, ...).
[[nodiscard]] std::optional<support::any_operator<backend>> own_operator(nb::handle object, const shape_type& y);

/// Tells a callable how far a call is, and whether Python has signals for it: what is raised there stops the call. Used without
/// the GIL.
class watcher {
public:
    /// `progress(stage, lap, done, total, figure)`, or None.
    explicit watcher(nb::handle progress) : progress_(progress) {}
    /// False where the call should end.
    bool tell(const char* stage, index_t lap, index_t done, index_t total, double figure);
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
    nb::handle progress_;
    std::exception_ptr error_;
};
/// warnings.warn
void warn(const std::vector<std::string>& texts);

}  // namespace python
