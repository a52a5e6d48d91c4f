// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/core/error.hpp>

/// What an exception says.
namespace diem::test {

/// The message of the exception E that `f` throws; "nothing thrown" where it throws none.
template <class E = error, class F>
[[nodiscard]] std::string message_of(F&& f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    return "nothing thrown";
}
[[nodiscard]] inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace diem::test
