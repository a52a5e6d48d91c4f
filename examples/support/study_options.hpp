// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "support/place_options.hpp"
#include "support/study_stages.hpp"

namespace support {

/// All of a study's command but --data; `entry`: of the configuration, for the help of --set.
inline void add_study_options(CLI::App& app, study_command& o, const std::string& entry) {
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--set", o.changes,
                   "KEY=VALUE: an entry instead of the configuration's, as " + entry + "; repeatable");
    app.add_option("--out", o.out, "folder for pictures, checkpoints and report.json")->capture_default_str();
    add_place_options(app, o.at);
    add_products_option(app, o.at);
    add_ranks_option(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--plan", o.plan_only, "say what the diffusion prior will cost, and stop before it");
    app.add_flag("--smoke", o.smoke, "a small run that takes seconds; without --data on made-up images");
}

}  // namespace support
