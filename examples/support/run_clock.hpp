// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>

#include <diem/prior/diagnostics.hpp>
#include <diem/prior/run.hpp>

namespace support {

/// Time that a run of several laps still takes, from its last lap: later laps cost the same.
class run_clock {
public:
    /// `laps`: in all; 0: not known.
    explicit run_clock(diem::index_t laps) : laps_(laps) {}

    void lap_done(const diem::prior::lap_diagnostics& d) {
        sampling_ = d.e_seconds;
        training_ = d.m_seconds;
    }
    /// `stage_left`: seconds that the present stage still takes. NaN before the first lap is done, and where laps are not known.
    [[nodiscard]] double left(const diem::prior::progress& p, double stage_left) const {
        using stage = diem::prior::progress::stage_type;
        if (laps_ == 0 || p.stage == stage::gaussian) return std::numeric_limits<double>::quiet_NaN();
        const auto later = static_cast<double>(laps_ - p.lap - 1);
        return stage_left + (p.stage == stage::sampling ? training_ : 0) + later * (sampling_ + training_);
    }

private:
    diem::index_t laps_;
    double sampling_ = std::numeric_limits<double>::quiet_NaN(), training_ = sampling_;
};

}  // namespace support
