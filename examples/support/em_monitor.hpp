// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include <diem/prior/em_result.hpp>

#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace support {

/// Shows a diffusion EM on the terminal: a bar for each E-step and M-step, a line for each lap. Ctrl-C sets `cancel`, which
/// `em_options::cancel` should point to. `LapEnd` is called as (diagnostics, samples, prior) after the line.
template <class LapEnd>
class em_monitor {
public:
    em_monitor(std::atomic<bool>& cancel, LapEnd lap_end) : cancel_(cancel), lap_end_(std::move(lap_end)) {}

    void progress(const diem::prior::em_progress& p) {
        if (interrupted()) cancel_ = true;
        if (!bar_ || lap_ != p.lap || sampling_ != p.sampling) {
            bar_.reset();
            bar_.emplace("lap " + std::to_string(p.lap) + (p.sampling ? ", samples " : ", training"),
                         static_cast<long>(p.total), static_cast<long>(p.sampling ? 0 : p.done - 1));
            lap_ = p.lap;
            sampling_ = p.sampling;
        }
        bar_->update(static_cast<long>(p.done), p.sampling ? "" : "loss " + number(p.loss, 3));
    }
    template <class Samples, class Prior>
    void lap_end(const diem::prior::lap_diagnostics& d, Samples x, const Prior& prior) {
        bar_.reset();
        std::cout << "lap " << d.lap << ": data residual " << number(d.data_residual) << ", loss " << number(d.loss, 3)
                  << ", change " << number(d.change, 3) << "; " << number(d.e_seconds, 1) << " + "
                  << number(d.m_seconds, 1) << " s" << std::endl;
        lap_end_(d, x, prior);
    }

private:
    std::atomic<bool>& cancel_;
    LapEnd lap_end_;
    std::optional<class progress> bar_;
    diem::index_t lap_ = -1;
    bool sampling_ = false;
};

}  // namespace support
