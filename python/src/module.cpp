// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <exception>

#include <nanobind/stl/vector.h>

#include "prior.hpp"

/// diem._core: what diem/__init__.py is made of. Errors of the library are Python's own, with the library's message.
namespace python {

using namespace nb::literals;

namespace {

void translate(const std::exception_ptr& p, void* /*payload*/) {
    try {
        std::rethrow_exception(p);
    } catch (const diem::io_error& e) {
        PyErr_SetString(PyExc_OSError, e.what());
    } catch (const std::filesystem::filesystem_error& e) {
        PyErr_SetString(PyExc_OSError, e.what());
    } catch (const diem::memory_error& e) {
        PyErr_SetString(PyExc_MemoryError, e.what());
    } catch (const diem::usage_error& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    } catch (const diem::device_error& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    } catch (const diem::error& e) {  // shape, value, config
        PyErr_SetString(PyExc_ValueError, e.what());
    }
}

nb::object mean_of(const prior_type& p) {
    const auto mean = p.prior.mean();
    const auto shape = items_of(1, p.prior.features(), program::image_of(p.prior));
    const auto array = result_array({shape.begin() + 1, shape.end()});
    std::copy_n(mean.data(), mean.size(), array.data());
    multiply(array.data(), mean.size(), p.scale());
    return nb::cast(array);
}
nb::object history_of(const prior_type& p) {
    diem::io::json laps = diem::io::json::array();
    for (const auto& d : p.prior.history) laps.push_back(diem::prior::to_json(d));
    return to_python(laps);
}
nb::object network_of(const prior_type& p) {
    if (!p.prior.has_network()) return nb::none();
    return to_python(diem::model::to_json(p.prior.network().net().config()));
}

}  // namespace

NB_MODULE(_core, m) {
    nb::set_leak_warnings(false);  // objects that a script holds to its end are no leaks
    nb::register_exception_translator(translate);
    m.attr("__version__") = DIEM_PYTHON_VERSION;

    nb::class_<prior_type>(
        m, "Prior",
        "A prior p(x) learned from observations: made by `fit`, read by `load`.\n\n"
        "Images are (items, height, width, channels), other data (items, features), float32. Arrays are read "
        "where they lie if they are float32 in C order.")
        .def("save", &save, "path"_a, nb::sig("def save(self, path: str | os.PathLike[str]) -> None"),
             "Write the prior to a safetensors file, whole or not at all; `diem.load` and the program diem read it.")
        .def("denoise", &denoise, "x"_a, "sigma"_a, "out"_a = nb::none(),
             nb::sig("def denoise(self, x: numpy.typing.ArrayLike, sigma: float | numpy.typing.ArrayLike, out: "
                     "numpy.typing.NDArray[numpy.float32] | None = None)"
                     " -> numpy.typing.NDArray[numpy.float32]"),
             "E[x | x_t] of items x_t = x + sigma z. `sigma`: one number, or one for each item. `out`: where to write "
             "it.")
        .def("vjp", &vjp, "x"_a, "sigma"_a, "v"_a, "out"_a = nb::none(),
             nb::sig("def vjp(self, x: numpy.typing.ArrayLike, sigma: float | numpy.typing.ArrayLike, v: "
                     "numpy.typing.ArrayLike, out: numpy.typing.NDArray[numpy.float32] | "
                     "None = None) -> numpy.typing.NDArray[numpy.float32]"),
             "J'v of each item, J the derivative of `denoise` with respect to x.")
        .def_prop_ro(
            "features", [](const prior_type& p) { return p.prior.features(); }, "Values of an item.")
        .def_prop_ro(
            "shape",
            [](const prior_type& p) {
                const auto all = items_of(1, p.prior.features(), program::image_of(p.prior));
                return nb::tuple(nb::cast(shape_type(all.begin() + 1, all.end())));
            },
            nb::sig("def shape(self) -> tuple[int, ...]"),
            "Of an item: (height, width, channels) of images, else (features,).")
        .def_prop_ro("mean", &mean_of, nb::sig("def mean(self) -> numpy.typing.NDArray[numpy.float32]"),
                     "Where samplers start.")
        .def_prop_ro("network", &network_of, nb::sig("def network(self) -> dict[str, typing.Any] | None"),
                     "How the network is built; None where the prior is Gaussian.")
        .def_prop_ro(
            "drawing", [](const prior_type& p) { return to_python(drawing_of(p)); },
            nb::sig("def drawing(self) -> dict[str, typing.Any]"),
            "How `sample` and `posterior` draw from it unless they are told otherwise.")
        .def_prop_ro("history", &history_of, nb::sig("def history(self) -> list[dict[str, typing.Any]]"),
                     "What each lap of the network told: its data residual, loss, change, solves, seconds.")
        .def_prop_rw(
            "notes", [](const prior_type& p) { return to_python(p.prior.notes); },
            [](prior_type& p, nb::handle notes) {
                const described own(notes, "notes");
                const nb::gil_scoped_release free;
                const std::scoped_lock lock(p.busy);
                p.prior.notes = own.json();
            },
            nb::for_getter(nb::sig("def notes(self) -> dict[str, typing.Any]")),
            nb::for_setter(nb::sig("def notes(self, notes: dict[str, typing.Any], /) -> None")),
            "Your own, kept in files. \"image\" is the shape of images, \"scale\" the unit of the data.")
        .def_ro("status", &prior_type::status,
                "completed, cancelled (go on by resume=True), or rejected: a lap went wrong, and this is the prior "
                "before it.")
        .def_ro("report", &prior_type::report, "What came of learning, in words.")
        .def("__repr__", [](const prior_type& p) {
            return "<diem.Prior: " + std::string(p.prior.has_network() ? "network" : "Gaussian") + ", " +
                   std::to_string(p.prior.features()) + " features, " + p.status + ">";
        });
    nb::class_<model_type>(
        m, "Model",
        "A network of your own, by two callables, for `sample` and `posterior`.\n\n"
        "`denoise(x, sigma)` returns E[x | x_t]; `vjp(x, sigma, v)` returns J'v. x and v are read-only views, "
        "(items, *shape), good until the callable returns; sigma is a number. What they return may be any "
        "array of real numbers.")
        .def(
            "__init__",
            [](model_type* at, nb::object denoise, nb::object vjp, nb::object shape, int threads) {
                const bool one = nb::isinstance<nb::int_>(shape);
                new (at) model_type(std::move(denoise), std::move(vjp),
                                    one ? shape_type{nb::cast<index_t>(shape)} : nb::cast<shape_type>(shape), threads);
            },
            "denoise"_a, "vjp"_a, "shape"_a, nb::kw_only(), "threads"_a = 0,
            nb::sig("def __init__(self, denoise: collections.abc.Callable[[numpy.typing.NDArray[numpy.float32], "
                    "float], numpy.typing.ArrayLike], vjp: "
                    "collections.abc.Callable[[numpy.typing.NDArray[numpy.float32], float, "
                    "numpy.typing.NDArray[numpy.float32]], numpy.typing.ArrayLike], shape: int | "
                    "collections.abc.Sequence[int], *, threads: int = 0) -> None"))
        .def_prop_ro(
            "shape", [](const model_type& p) { return nb::tuple(nb::cast(p.item)); },
            nb::sig("def shape(self) -> tuple[int, ...]"), "Of an item.");

    m.def("fit", &fit, "y"_a, "operator"_a.none(), "config"_a, "folder"_a.none(), "resume"_a, "save_every"_a,
          "progress"_a.none(), "callback"_a.none(), "threads"_a);
    m.def("load", &load, "path"_a, "threads"_a);
    m.def("sample", &sample, "model"_a, "n"_a, "config"_a, "seed"_a, "progress"_a.none(), "out"_a.none());
    m.def("posterior", &posterior, "model"_a, "y"_a, "operator"_a.none(), "config"_a, "samples"_a.none(), "seed"_a,
          "progress"_a.none(), "out"_a.none());
}

}  // namespace python
