// SPDX-License-Identifier: Apache-2.0
#include <exception>

#include "prior.hpp"
#include "support/instructions.hpp"

const int support_built_for = SUPPORT_INSTRUCTIONS;

/// diem._core: what the package is made of. Errors of the library are Python's own, with the library's message.
namespace python {

using namespace nb::literals;

namespace {

void translate(const std::exception_ptr& p, void* /*payload*/) {
    const auto raise = [](PyObject* type, const std::exception& e) { PyErr_SetString(type, e.what()); };
    try {
        std::rethrow_exception(p);
    } catch (const diem::io_error& e) {
        raise(PyExc_OSError, e);
    } catch (const std::filesystem::filesystem_error& e) {
        raise(PyExc_OSError, e);
    } catch (const diem::memory_error& e) {
        raise(PyExc_MemoryError, e);
    } catch (const diem::usage_error& e) {
        raise(PyExc_RuntimeError, e);
    } catch (const diem::device_error& e) {
        raise(PyExc_RuntimeError, e);
    } catch (const diem::error& e) {  // shape, value, config
        raise(PyExc_ValueError, e);
    }
}

}  // namespace

NB_MODULE(_core, m) {
    nb::set_leak_warnings(false);  // objects that a script holds to its end are no leaks
    nb::register_exception_translator(translate);
    m.attr("__version__") = DIEM_PYTHON_VERSION;
    nb::class_<problem>(m, "Problem")
        .def(nb::init<const std::string&, problem::arrays_type, std::optional<problem::functions>>(), "config"_a,
             "arrays"_a, "operator"_a.none());
    bind_priors(m);
    m.def("fit", &fit, "problem"_a, "folder"_a.none(), "resume"_a, "save_every"_a, "progress"_a.none(), "callback"_a,
          "threads"_a);
}

}  // namespace python
