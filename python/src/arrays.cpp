// SPDX-License-Identifier: Apache-2.0
#include "arrays.hpp"

#include <algorithm>

namespace python {

using namespace diem;

shape_type shape_of(const floats& a) { return {a.shape_ptr(), a.shape_ptr() + a.ndim()}; }
in batch_of(const floats& a, const std::string& name, index_t features) {
    const auto shape = shape_of(a);
    const index_t items = shape.empty() ? 0 : shape.front(), size = static_cast<index_t>(a.size());
    if (items < 1 || size < 1) throw shape_error(name + ": shape " + io::to_string(shape) + ", expected (items, ...)");
    if (features >= 0) check_size(name, "values of an item", size / items, features);
    return {a.data(), size / items, items};
}
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
void take(const nb::object& result, const std::string& name, out to) {
    const auto values = nb::cast<floats>(result);
    const in from = batch_of(values, name + ": the result", to.features());
    check_size(name + ": the result", "items", from.items(), to.items());
    for (index_t i = 0; i < to.items(); ++i)
        std::copy_n(from.data() + i * from.stride(), to.features(), to.data() + i * to.stride());
}

namespace {

support::any_operator<backend> operator_of(const problem::functions& given, const shape_type& y) {
    const auto& [apply, adjoint, of_x, each] = given;
    const shape_type of_y(y.begin() + 1, y.end());
    const auto product = [](const std::string& name, const problem::product& f, const shape_type& item) {
        return [=](backend&, in from, out to, index_t first) {
            const nb::gil_scoped_acquire gil;
            take(f(view_of(from, item), nb::slice(first, first + from.items())), name, to);
        };
    };
    return support::any_operator<backend>::functions(
        io::element_count(of_y), io::element_count(of_x), each ? y.front() : linop::any_items,
        product("operator: apply", apply, of_x), product("operator: adjoint", adjoint, of_y));
}

}  // namespace

program::measured<backend> problem::measure(backend& b, program::operator_description& d, program::sigma_source& sigma,
                                            const image& im) const {
    const program::array_source source = [this](const std::filesystem::path& name) {
        std::optional<io::numbers<float>> copy;
        if (const auto at = arrays.find(name.string()); at != arrays.end()) {
            const auto& [a, pairs] = at->second;
            program::check_items(shape_of(a), {a.data(), a.size()}, name.string());
            copy.emplace(io::array<float>(shape_of(a), {a.data(), a.data() + a.size()}), pairs);
        }
        return copy;
    };
    d.read = sigma.read = [=](const std::filesystem::path& name) {
        auto there = source(name);
        if (there && there->complex) throw io_error(name.string() + ": complex numbers, expected real ones");
        return there ? std::move(there->values) : program::load_items(name);
    };
    if (d.mri) {
        d.mri->source = source;
        return program::load_mri_measured<backend>(b, {"y"}, d, sigma, im);
    }
    std::optional<support::any_operator<backend>> own;
    if (callables) own.emplace(operator_of(*callables, shape_of(y())));
    if (own) d.type = d.where = "operator";
    return program::measure<backend>(b, {shape_of(y()), {y().data(), y().size()}}, "y", d, sigma, im, std::move(own),
                                     batch_of(y(), "y"));
}

bool watcher::tell(const char* stage, index_t lap, index_t done, index_t total, double figure) {
    return with_python([&] {
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
        if (progress_) progress_(stage, lap, done, total, figure);
        return !cancel.load();
    });
}
void watcher::warn(const std::vector<std::string>& texts) {
    with_python([&] {
        for (const auto& text : texts)
            if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 2) != 0) throw nb::python_error();
        return true;
    });
    rethrow();
}

}  // namespace python
