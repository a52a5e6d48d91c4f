// SPDX-License-Identifier: Apache-2.0
// Clipping, Adam, learning rates and averages against the golden files of kind "adam".
#include <string>
#include <type_traits>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/train/optimizer.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace {

using namespace diem;

template <class B>
void check_file(B& b, test::golden_file& file) {
    using T = scalar_t<B>;
    const auto& c = file.config();
    const auto number = [&](const char* key) { return c.at(key).template get<double>(); };
    const std::string name = c.at("schedule").get<std::string>();
    train::rate_options rate{.initial = number("lr_init"), .final = number("lr_end"), .warmup = number("warmup")};
    if (name == "linear") rate.schedule = train::rate_schedule::linear;
    if (name == "exponential") rate.schedule = train::rate_schedule::exponential;
    const auto steps = c.at("steps").get<index_t>();

    std::vector<T> schedule;
    for (index_t k = 0; k < steps + 2; ++k) schedule.push_back(static_cast<T>(train::learning_rate(rate, k, steps)));
    test::check_golden(file, "schedule", schedule);

    const auto names = file.parameters();
    std::vector<T> flat;
    std::vector<std::size_t> sizes;
    for (const auto& parameter : names) {
        const auto values = file.parameter<T>(parameter);
        sizes.push_back(values.data.size());
        flat.insert(flat.end(), values.data.begin(), values.data.end());
    }
    const auto n = static_cast<index_t>(flat.size());
    auto p = to_backend(b, flat, n, 1);
    train::optimizer<B> adam(b, p.flat(),
                             {.beta1 = number("beta1"),
                              .beta2 = number("beta2"),
                              .eps = number("eps"),
                              .max_norm = number("max_norm"),
                              .ema_decay = number("decay")});
    const auto updates = file.output<double>("norm").size();
    std::vector<T> norms, rates;
    std::vector<std::vector<T>> history(names.size()), averages(names.size());
    const auto split = [&](const std::vector<T>& all, std::vector<std::vector<T>>& parts) {
        auto first = all.begin();
        for (std::size_t k = 0; k < names.size(); ++k) {
            const auto last = first + static_cast<std::ptrdiff_t>(sizes[k]);
            parts[k].insert(parts[k].end(), first, last);
            first = last;
        }
    };
    for (index_t step = 0; step < updates; ++step) {
        std::vector<T> g;
        for (std::size_t k = 0; k < names.size(); ++k) {
            const auto all = file.input<T>("grads/" + names[k]);
            const auto first = all.data.begin() + step * static_cast<std::ptrdiff_t>(sizes[k]);
            g.insert(g.end(), first, first + static_cast<std::ptrdiff_t>(sizes[k]));
        }
        const auto gradient = to_backend(b, g, n, 1);
        const double r = train::learning_rate(rate, step, steps);
        adam.update(b, p.flat(), gradient.flat(), r);
        norms.push_back(static_cast<T>(adam.norm(b)));
        rates.push_back(static_cast<T>(r));
        split(to_host(b, p), history);
        split(to_host(b, adam.average()), averages);
    }
    test::check_golden(file, "norm", norms);
    test::check_golden(file, "rate", rates);
    std::vector<std::vector<T>> m(names.size()), v(names.size());
    adam.with_moments([&](const auto& first, const auto& second) {
        if constexpr (std::is_same_v<typename std::decay_t<decltype(first)>::value_type, T>)
            split(to_host(b, first), m), split(to_host(b, second), v);
    });
    for (std::size_t k = 0; k < names.size(); ++k) {
        test::check_golden(file, "params/" + names[k], history[k]);
        test::check_golden(file, "ema/" + names[k], averages[k]);
        test::check_golden(file, "m/" + names[k], m[k]);
        test::check_golden(file, "v/" + names[k], v[k]);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("Adam equals the golden files", "", float, double) {
    auto files = test::golden_files("adam");
    for (auto& file : files) {
        reference_backend<TestType> reference;
        check_file(reference, file);
        auto eigen = test::make_backend<test::main_backend<TestType>>(2);
        check_file(eigen, file);
        test::opaque_backend<TestType> opaque;
        check_file(opaque, file);
    }
}
