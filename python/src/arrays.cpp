// SPDX-License-Identifier: Apache-2.0
#include "arrays.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace python {

using namespace diem;

namespace {

nb::module_ numpy() { return nb::module_::import_("numpy"); }

template <class Array>
shape_type shape_of_any(const Array& a) {
    shape_type shape(a.ndim());
    for (std::size_t k = 0; k < a.ndim(); ++k) shape[k] = static_cast<index_t>(a.shape(k));
    return shape;
}
std::string text(nb::handle h) { return nb::cast<std::string>(h.attr("__repr__")()); }
bool is_array(nb::handle h) {
    return nb::hasattr(h, "__dlpack__") || nb::hasattr(h, "__array__") || PyObject_CheckBuffer(h.ptr()) != 0;
}

}  // namespace

floats as_floats(nb::handle object, const std::string& name) {
    floats as_it_lies;
    if (nb::try_cast(object, as_it_lies, false)) return as_it_lies;
    const nb::object array = numpy().attr("asarray")(object);
    const auto kind = nb::cast<std::string>(array.attr("dtype").attr("kind"));
    if (kind != "f" && kind != "i" && kind != "u" && kind != "b")
        throw nb::type_error((name + ": " + text(array.attr("dtype")) + ", expected real numbers").c_str());
    return nb::cast<floats>(numpy().attr("ascontiguousarray")(array, nb::arg("dtype") = "float32"));
}
shape_type shape_of(const floats& a) { return shape_of_any(a); }
in batch_of(const floats& a, const std::string& name, index_t features) {
    const auto shape = shape_of(a);
    const index_t items = shape.empty() ? 0 : shape.front(), size = static_cast<index_t>(a.size());
    if (items < 1 || size < 1) throw shape_error(name + ": shape " + io::to_string(shape) + ", expected (items, ...)");
    if (features >= 0) check_size(name, "values of an item", size / items, features);
    return {a.data(), size / items, items};
}

float_target result_array(const shape_type& shape, nb::handle given) {
    if (given.is_none()) {
        const nb::tuple extents = nb::tuple(nb::cast(shape));
        return nb::cast<float_target>(numpy().attr("empty")(extents, nb::arg("dtype") = "float32"));
    }
    float_target a;
    if (!nb::try_cast(given, a, false)) throw nb::type_error("out: expected a writable array of float32 in C order");
    if (shape_of_any(a) != shape)
        throw shape_error("out: shape " + io::to_string(shape_of_any(a)) + ", expected " + io::to_string(shape));
    return a;
}
shape_type items_of(index_t items, index_t features, const image& im) { return program::shape_of(items, features, im); }

nb::object view_of(in batch, const shape_type& item) {
    shape_type extents = item;
    if (item.empty() || io::element_count(item) != batch.features()) extents = {batch.features()};
    std::vector<std::size_t> sizes{static_cast<std::size_t>(batch.items())};
    std::vector<std::int64_t> strides{batch.stride()};
    index_t step = batch.features();
    for (const index_t n : extents) {
        step /= n;
        sizes.push_back(static_cast<std::size_t>(n));
        strides.push_back(step);
    }
    const nb::ndarray<nb::numpy, const float> view(batch.data(), sizes.size(), sizes.data(), nb::handle(),
                                                   strides.data());
    return nb::cast(view, nb::rv_policy::reference);
}
void take(nb::handle result, const std::string& name, out to) {
    const auto values = as_floats(result, name + ": the result");
    const in from = batch_of(values, name + ": the result", to.features());
    check_size(name + ": the result", "items", from.items(), to.items());
    copy_items(from, to);
}
std::shared_ptr<nb::object> hold(nb::object object) {
    return {new nb::object(std::move(object)), [](nb::object* held) {
                const nb::gil_scoped_acquire gil;
                delete held;
            }};
}

io::json described::convert(nb::handle h, const std::string& path) {
    if (h.is_none()) return nullptr;
    if (nb::isinstance<nb::bool_>(h)) return nb::cast<bool>(h);
    if (nb::isinstance<nb::str>(h)) return nb::cast<std::string>(h);
    if (nb::isinstance<nb::dict>(h)) {
        io::json object = io::json::object();
        for (const auto& [key, value] : nb::borrow<nb::dict>(h)) {
            if (!nb::isinstance<nb::str>(key))
                throw nb::type_error((path + ": keys must be strings, one is " + text(key)).c_str());
            const auto name = nb::cast<std::string>(key);
            object[name] = convert(value, path.empty() ? name : path + "." + name);
        }
        return object;
    }
    if (nb::isinstance<nb::list>(h) || nb::isinstance<nb::tuple>(h)) {
        io::json list = io::json::array();
        for (const nb::handle entry : nb::iter(h))
            list.push_back(convert(entry, path + "[" + std::to_string(list.size()) + "]"));
        return list;
    }
    if (nb::hasattr(h, "__fspath__")) return nb::cast<std::string>(h.attr("__fspath__")());
    const bool array = is_array(h) && nb::hasattr(h, "shape") && nb::len(nb::object(h.attr("shape"))) > 0;
    std::int64_t integer = 0;
    std::uint64_t large = 0;
    if (!array && nb::hasattr(h, "__index__") && nb::try_cast(nb::int_(h), integer)) return integer;
    if (!array && nb::hasattr(h, "__index__") && nb::try_cast(nb::int_(h), large)) return large;
    if (!array && nb::hasattr(h, "__float__")) {
        const double value = nb::cast<double>(nb::float_(h));
        return std::isinf(value) && value > 0 ? io::json("inf") : io::json(value);
    }
    if (!array)
        throw nb::type_error(
            (path + ": is " + text(h) + ", expected numbers, strings, arrays, lists or dicts of them").c_str());
    const floats values = as_floats(h, path);
    program::check_items(shape_of(values), {values.data(), values.size()}, path);
    arrays_[path] = {shape_of(values), {values.data(), values.data() + values.size()}};
    return path;
}
support::array_reader described::reader() const {
    return [this](const std::filesystem::path& file) {
        const auto at = arrays_.find(file.string());
        return at != arrays_.end() ? at->second : program::load_items(file);
    };
}
nb::object to_python(const io::json& value) {
    return nb::module_::import_("json").attr("loads")(value.dump(-1, ' ', false, io::json::error_handler_t::replace));
}

std::optional<support::any_operator<backend>> own_operator(nb::handle object, const shape_type& y) {
    if (!nb::hasattr(object, "apply") || !nb::hasattr(object, "adjoint")) return std::nullopt;
    const bool each = nb::cast<bool>(object.attr("per_item"));
    const auto product = [each](const char* name, nb::object function, const shape_type& item) {
        return [each, name = std::string("operator: ") + name, f = hold(std::move(function)), item](
                   backend&, in from, out to, index_t first) {
            const nb::gil_scoped_acquire gil;
            if (!each) return take((*f)(view_of(from, item)), name, to);
            const nb::object items = nb::module_::import_("builtins").attr("slice")(first, first + from.items());
            take((*f)(view_of(from, item), items), name, to);
        };
    };
    const auto of_x = nb::cast<shape_type>(object.attr("shape"));
    const shape_type of_y(y.begin() + 1, y.end());
    return support::any_operator<backend>::functions(
        io::element_count(of_y), io::element_count(of_x), each ? y.front() : linop::any_items,
        product("apply", object.attr("apply"), of_x), product("adjoint", object.attr("adjoint"), of_y));
}

bool watcher::tell(const char* stage, index_t lap, index_t done, index_t total, double figure) {
    return with_python([&] {
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
        if (!progress_.is_none()) progress_(stage, lap, done, total, figure);
        return !cancel.load();
    });
}
void warn(const std::vector<std::string>& texts) {
    for (const auto& text : texts)
        if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 2) != 0) throw nb::python_error();
}

}  // namespace python
