// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>

#include <diem/prior/diagnostics.hpp>
#include <diem/prior/run.hpp>

namespace support {

/// Time that a run of several laps still takes, from its last lap, or from a plan before the first: later laps cost the same.
class run_clock {
public:
    run_clock() = default;
    /// `laps`: in all, 0: not known; seconds of each of its halves, where they are.
    explicit run_clock(diem::index_t laps, double sampling = std::numeric_limits<double>::quiet_NaN(),
                       double training = std::numeric_limits<double>::quiet_NaN())
        : laps_(laps), sampling_(sampling), training_(training) {}

    void lap_done(const diem::prior::lap_diagnostics& d) {
        sampling_ = d.e_seconds;
        training_ = d.m_seconds;
    }
    /// `stage_left`: seconds that the present stage still takes. NaN where laps, or what one takes, are not known.
    [[nodiscard]] double left(const diem::prior::progress& p, double stage_left) const {
        using stage = diem::prior::progress::stage_type;
        if (laps_ == 0) return std::numeric_limits<double>::quiet_NaN();
        if (p.stage == stage::gaussian || p.stage == stage::mixture)
            return stage_left + static_cast<double>(laps_) * (sampling_ + training_);
        const auto later = static_cast<double>(laps_ - p.lap - 1);
        return stage_left + (p.stage == stage::sampling ? training_ : 0) + later * (sampling_ + training_);
    }

private:
    diem::index_t laps_ = 0;
    double sampling_ = std::numeric_limits<double>::quiet_NaN(), training_ = sampling_;
};

}  // namespace support
