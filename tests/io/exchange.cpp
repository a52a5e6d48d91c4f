// SPDX-License-Identifier: Apache-2.0
// exchange write|check FOLDER: the C++ half of exchange.py. Every element k of a tensor is k % 2, or k + 1/2 where the type
// has fractions; both halves know the same names, types and shapes.
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <tuple>
#include <type_traits>

namespace {

using namespace diem;
using namespace diem::io;

template <class T>
array<T> expected(const shape_type& shape) {
    array<T> values(shape);
    for (index_t k = 0; k < values.size(); ++k) {
        if constexpr (std::is_floating_point_v<T>)
            values[k] = static_cast<T>(k) + T(0.5);
        else
            values[k] = static_cast<T>(k % 2);
    }
    return values;
}

const std::tuple<array<boolean>, array<std::uint8_t>, array<std::int8_t>, array<std::uint16_t>, array<std::int16_t>,
                 array<std::uint32_t>, array<std::int32_t>, array<std::uint64_t>, array<std::int64_t>, array<float>,
                 array<double>>
    tensors{expected<boolean>({3}),          expected<std::uint8_t>({5}),  expected<std::int8_t>({1}),
            expected<std::uint16_t>({3, 1}), expected<std::int16_t>({2}),  expected<std::uint32_t>({2, 2}),
            expected<std::int32_t>({0, 4}),  expected<std::uint64_t>({2}), expected<std::int64_t>({}),
            expected<float>({2, 3, 4}),      expected<double>({7})};

template <class T>
std::string name_of() {
    return std::string("t/") + std::string(info(dtype_of<T>()).safetensors);
}

void write(const std::filesystem::path& folder) {
    safetensors_writer writer;
    writer.metadata("config", "{\"a\": [1, \"\xc3\xa9\"]}");
    std::apply(
        [&]<class... T>(const array<T>&... tensor) {
            (writer.add(name_of<T>(), tensor), ...);
            (save_npy(folder / ("cpp_" + std::string(info(dtype_of<T>()).safetensors) + ".npy"), tensor), ...);
        },
        tensors);
    writer.write(folder / "cpp.safetensors");
}

template <class T>
void same(const array<T>& got, const array<T>& want, const std::string& name) {
    if (got.shape != want.shape || got.data != want.data) throw io_error(name + " differs");
}

void check(const std::filesystem::path& folder) {
    safetensors_file file(folder / "python.safetensors");
    if (file.metadata("config") != "{\"a\": [1, \"\xc3\xa9\"]}") throw io_error("metadata differs");
    if (file.tensors().size() != std::tuple_size_v<decltype(tensors)>) throw io_error("number of tensors differs");
    std::apply(
        [&]<class... T>(const array<T>&... tensor) {
            (same(file.read<T>(name_of<T>()), tensor, name_of<T>()), ...);
            (same(load_npy<T>(folder / ("python_" + std::string(info(dtype_of<T>()).safetensors) + ".npy")), tensor,
                  name_of<T>() + " (npy)"),
             ...);
        },
        tensors);
    // What NumPy writes in other orders and widths, and its complex numbers.
    int foreign = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("real_"))
            same(load_npy_as<double>(entry.path()), expected<double>({2, 3, 4}), name);
        else if (name.starts_with("complex_"))
            same(load_npy_numbers<double>(entry.path()).values, expected<double>({3, 4, 2}), name);
        else
            continue;
        ++foreign;
    }
    if (foreign != 20) throw io_error(std::to_string(foreign) + " of 20 foreign files");
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argc == 3 ? argv[1] : "";
    try {
        if (verb == "write")
            write(argv[2]);
        else if (verb == "check")
            check(argv[2]);
        else
            throw io_error("usage: exchange write|check FOLDER");
    } catch (const std::exception& e) {
        std::cerr << "exchange " << verb << ": " << e.what() << '\n';
        return 1;
    }
    return 0;
}
