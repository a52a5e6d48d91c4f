// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/io/safetensors.hpp>

#include "diem/commands.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

namespace {

/// What the file says about itself, read without its tensors.
io::json describe_checkpoint(const path& file) {
    const io::safetensors_file in(file);
    if (in.metadata().count("format") == 0 || in.metadata("format") != "diem")
        throw io_error(file.string() + ": a safetensors file, but no checkpoint of diem");
    const auto config = io::parse_json(in.metadata("config"), file.string() + " (config)");
    const auto state = io::parse_json(in.metadata("state"), file.string() + " (state)");
    if (!state.is_object() || !state.contains("kind")) throw io_error(file.string() + ": its state has no kind");
    io::json j{{"file", file.string()},
               {"bytes", std::filesystem::file_size(file)},
               {"kind", state.at("kind")},
               {"tensors", in.tensors().size()},
               {"config", config}};
    index_t parameters = 0;
    std::string type;
    for (const auto& [name, tensor] : in.tensors()) {
        type = io::info(tensor.type).safetensors;
        if (name.rfind("average/", 0) == 0 || name.rfind("ema/", 0) == 0) parameters += tensor.size();
    }
    j["type"] = type;
    if (parameters > 0) j["parameters"] = parameters;
    for (const char* key : {"features", "rank", "laps", "estimate_rank"})
        if (state.contains(key)) j[key] = state[key];
    if (state.contains("notes") && state["notes"].contains("laps")) j["laps"] = state["notes"]["laps"];
    if (state.contains("history") && state["history"].is_array() && !state["history"].empty())
        j["last_lap"] = state["history"].back();
    if (state.contains("run")) {
        const auto& run = state["run"];
        j["run"] = {{"lap", run.value("lap", 0)}};
        if (run.contains("stage")) j["run"]["stage"] = run["stage"];
        if (state["kind"] == "lap_samples") {
            index_t samples = 0;
            for (const auto& range : state.at("batches")) samples += range.at("count").get<index_t>();
            j["run"]["samples"] = samples;
        }
        if (run.contains("seed")) j["seed"] = run["seed"];
        if (run.contains("options") && run["options"].contains("seed")) j["seed"] = run["options"]["seed"];
    }
    if (state.contains("training")) j["training_step"] = state["training"].value("step", 0);
    if (config.is_object() && config.contains("seed")) j["seed"] = config["seed"];
    return j;
}

}  // namespace

int info(const info_command& o) {
    io::json j;
    try {
        j = describe_checkpoint(o.checkpoint);
    } catch (const io::json::exception& e) {
        throw io_error(o.checkpoint.string() + ": metadata: " + e.what());
    }
    support::tell(j);
    std::vector<std::vector<std::string>> rows;
    const auto row = [&](const std::string& name, const io::json& value) {
        rows.push_back({name, value.is_string() ? value.get<std::string>() : value.dump()});
    };
    for (const auto& [key, name] :
         std::vector<std::pair<std::string, std::string>>{{"file", "file"},
                                                          {"bytes", "bytes"},
                                                          {"kind", "kind"},
                                                          {"type", "numbers"},
                                                          {"features", "features"},
                                                          {"rank", "rank"},
                                                          {"estimate_rank", "rank of the Gaussian estimate"},
                                                          {"parameters", "parameters"},
                                                          {"laps", "laps done"},
                                                          {"run", "run"},
                                                          {"training_step", "training step"},
                                                          {"seed", "seed"}})
        if (j.contains(key)) row(name, j[key]);
    const auto& config = j["config"];
    if (config.is_object() && config.contains("type")) row("network", config);
    if (config.is_object() && config.contains("network"))
        for (const char* key : {"network", "image", "notes", "sampler", "posterior"})
            if (config.contains(key) && !config[key].empty()) row(key, config[key]);
    if (config.is_object() && config.contains("preconditioning")) {
        io::json form = config["preconditioning"];
        if (form.is_object()) form.erase("sigmas");  // one for each of a thousand steps
        row("preconditioning", form);
    }
    if (j.contains("last_lap"))
        for (const char* key : {"data_residual", "loss", "change", "outside_share", "e_seconds", "m_seconds"})
            if (j["last_lap"].contains(key)) row(std::string("last lap: ") + key, j["last_lap"][key]);
    std::size_t width = 0;
    for (const auto& r : rows) width = std::max(width, r[0].size());
    for (const auto& r : rows) std::cout << r[0] << std::string(width + 2 - r[0].size(), ' ') << r[1] << '\n';
    return 0;
}

}  // namespace program
