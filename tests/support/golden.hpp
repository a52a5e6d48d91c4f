// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/io/safetensors.hpp>

#include "support/catch.hpp"

/// Golden files: inputs, parameters and outputs of a reference implementation in float64, with the tolerance of each
/// output. The folder is $DIEM_GOLDENS, by default tests/data; a test runs every file of its kind found there:
///
///     for (auto& file : golden_files("ppca")) {
///         const auto x = file.input<T>("x");
///         ...
///         check_golden(file, "mean", std::span<const T>(mean));   // REQUIRE with a message
///     }
namespace diem::test {

/// Outcome of a comparison; passes on `error <= tolerance`, so that NaN fails.
struct comparison {
    double error = std::numeric_limits<double>::quiet_NaN();
    double tolerance = 0;
    std::string message;
    [[nodiscard]] bool passed() const { return error <= tolerance; }
};

/// max |got - ref| / scale over `count` elements, NaN where any got is not finite.
template <class T>
[[nodiscard]] double relative_error(const T* got, const double* ref, std::size_t count, double scale) {
    double worst = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const double error = std::abs(static_cast<double>(got[i]) - ref[i]) / scale;
        if (!std::isfinite(error)) return std::numeric_limits<double>::quiet_NaN();
        worst = std::max(worst, error);
    }
    return worst;
}

class golden_file {
public:
    explicit golden_file(const std::filesystem::path& path) : file_(path) {
        config_ = io::parse_json(file_.metadata("config"), path.string() + " (config)");
    }

    [[nodiscard]] std::string name() const { return file_.path().filename().string(); }
    [[nodiscard]] const io::json& config() const { return config_; }
    [[nodiscard]] std::string kind() const { return config_.at("kind").get<std::string>(); }
    /// Names of the parameters in the order in which they act.
    [[nodiscard]] std::vector<std::string> parameters() const {
        return config_.at("parameters").get<std::vector<std::string>>();
    }
    /// Names of the outputs, without "out/".
    [[nodiscard]] std::vector<std::string> outputs() const {
        std::vector<std::string> names;
        for (const auto& [name, tensor] : file_.tensors())
            if (name.rfind("out/", 0) == 0) names.push_back(name.substr(4));
        return names;
    }
    [[nodiscard]] bool has(const std::string& tensor) const { return file_.contains(tensor); }
    [[nodiscard]] bool has_input(const std::string& name) const { return has("in/" + name); }
    [[nodiscard]] bool has_output(const std::string& name) const { return has("out/" + name); }

    /// Tensors, widened (or narrowed) to T; float32 parameters and inputs are exact in both.
    template <class T = double>
    [[nodiscard]] io::array<T> tensor(const std::string& name) {
        return file_.template read_as<T>(name);
    }
    template <class T = double>
    [[nodiscard]] io::array<T> parameter(const std::string& name) {
        return tensor<T>("param/" + name);
    }
    template <class T = double>
    [[nodiscard]] io::array<T> input(const std::string& name) {
        return tensor<T>("in/" + name);
    }
    template <class T = double>
    [[nodiscard]] io::array<T> output(const std::string& name) {
        return tensor<T>("out/" + name);
    }

    /// The stored tolerance of an output for scalar type T.
    template <class T>
    [[nodiscard]] double tolerance(const std::string& name) const {
        static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
        const io::json& entry = config_.at("tolerance").at(name);
        return entry.at(std::is_same_v<T, float> ? "float32" : "float64").template get<double>();
    }

    /// Compares `got` (row-major, shape of the output) with output `name`. Integer outputs: number of differences, tolerance
    /// 0. Otherwise max |got - ref| / scale against the stored tolerance of T, where scale is
    /// - "grad/*": max(max |ref|, 1e-3 max over all "grad/*" of the file);
    /// - fewer than two axes: max |ref|;
    /// - otherwise, per slice k along the first axis: max(max |ref[k]|, 1e-3 max |ref|);
    /// and 1 where that is zero.
    template <class T>
    [[nodiscard]] comparison compare(const std::string& name, std::span<const T> got) {
        const auto ref = output<double>(name);
        comparison result;
        if (got.size() != ref.data.size()) {
            result.message = this->name() + ": " + name + ": " + std::to_string(got.size()) +
                             " elements, the reference has shape " + io::to_string(ref.shape);
            return result;
        }
        if constexpr (std::is_integral_v<T>) {
            result.error = 0;
            for (std::size_t i = 0; i < got.size(); ++i)
                if (static_cast<double>(got[i]) != ref.data[i]) result.error += 1;
        } else {
            result.tolerance = tolerance<T>(name);
            result.error = floating_error(name, got, ref);
        }
        std::ostringstream text;
        text << this->name() << ": " << name
             << (std::is_integral_v<T> ? " (integers)"
                 : sizeof(T) == 4      ? " (float)"
                                       : " (double)")
             << ": error " << result.error << ", tolerance " << result.tolerance;
        result.message = text.str();
        return result;
    }

private:
    [[nodiscard]] static double largest(std::span<const double> values) {
        double top = 0;
        for (const double value : values) top = std::max(top, std::abs(value));
        return top;
    }
    template <class T>
    [[nodiscard]] double floating_error(const std::string& name, std::span<const T> got, const io::array<double>& ref) {
        const double top = largest(ref.data);
        const auto positive = [](double scale) { return scale > 0 ? scale : 1.0; };
        if (name.rfind("grad/", 0) == 0) {
            double all = 0;
            for (const std::string& other : outputs())
                if (other.rfind("grad/", 0) == 0) all = std::max(all, largest(output<double>(other).data));
            return relative_error(got.data(), ref.data.data(), got.size(), positive(std::max(top, 1e-3 * all)));
        }
        if (ref.shape.size() < 2) return relative_error(got.data(), ref.data.data(), got.size(), positive(top));
        const auto features = static_cast<std::size_t>(ref.features());
        double worst = 0;
        for (std::size_t first = 0; first < ref.data.size(); first += features) {
            const double scale = std::max(largest(std::span(ref.data).subspan(first, features)), 1e-3 * top);
            const double error = relative_error(got.data() + first, ref.data.data() + first, features, positive(scale));
            if (std::isnan(error)) return error;
            worst = std::max(worst, error);
        }
        return worst;
    }

    io::safetensors_file file_;
    io::json config_;
};

/// The folder of golden files: $DIEM_GOLDENS, or the default given at compile time.
[[nodiscard]] inline std::filesystem::path golden_folder() {
    const char* folder = std::getenv("DIEM_GOLDENS");
    if (folder != nullptr && *folder != '\0') return folder;
#if defined(DIEM_GOLDENS_DEFAULT)
    return DIEM_GOLDENS_DEFAULT;
#else
    return "tests/data";
#endif
}

/// Every *.safetensors of the folder, by name. Throws io_error where the folder cannot be listed.
[[nodiscard]] inline std::vector<std::filesystem::path> golden_paths() {
    std::error_code code;
    std::filesystem::directory_iterator folder(golden_folder(), code);
    if (code) throw io_error(golden_folder().string() + ": " + code.message());
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : folder)
        if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    return paths;
}

/// Whether a kind may be missing: in a folder that $DIEM_GOLDENS names, and which is not the default one.
[[nodiscard]] inline bool golden_kinds_may_miss() {
#if defined(DIEM_GOLDENS_DEFAULT)
    std::error_code code;
    return !std::filesystem::equivalent(golden_folder(), DIEM_GOLDENS_DEFAULT, code);
#else
    return std::getenv("DIEM_GOLDENS") != nullptr;
#endif
}

/// Every golden file of a kind, of whatever size, that also satisfies `wanted`; prints how many there are. None is a failure,
/// but where $DIEM_GOLDENS names another folder, which need not hold every kind (golden_kinds requires that it holds one): then
/// a warning says that nothing was compared.
template <class Predicate>
[[nodiscard]] std::vector<golden_file> golden_files(const std::string& kind, Predicate wanted) {
    std::vector<golden_file> files;
    for (const auto& path : golden_paths()) {
        golden_file file(path);
        if (file.kind() == kind && wanted(std::as_const(file))) files.push_back(std::move(file));
    }
    std::cout << "golden: " << files.size() << " files of kind " << kind << " checked:";
    for (const auto& file : files) std::cout << ' ' << file.name();
    std::cout << std::endl;
    if (files.empty() && golden_kinds_may_miss())
        WARN("golden: SKIPPED, no file of kind " << kind << " in " << golden_folder().string());
    INFO("golden: " << files.size() << " files of kind " << kind << " in " << golden_folder().string());
    CHECK((!files.empty() || golden_kinds_may_miss()));
    return files;
}
[[nodiscard]] inline std::vector<golden_file> golden_files(const std::string& kind) {
    return golden_files(kind, [](const golden_file&) { return true; });
}

/// Compares and checks (Catch2): a failure prints file, output, error and tolerance.
template <class T>
void check_golden(golden_file& file, const std::string& name, std::span<const T> got) {
    const comparison result = file.compare<T>(name, got);
    INFO(result.message);
    CHECK(result.error <= result.tolerance);
}
template <class T>
void check_golden(golden_file& file, const std::string& name, const std::vector<T>& got) {
    check_golden<T>(file, name, std::span<const T>(got));
}
template <class T>
void check_golden(golden_file& file, const std::string& name, const io::array<T>& got) {
    check_golden<T>(file, name, std::span<const T>(got.data));
}

}  // namespace diem::test
