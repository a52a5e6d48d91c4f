// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/prior/checkpoint.hpp>

#include "support/classifier.hpp"

/// Configuration and weights of the classifier in files.
namespace support {

/// {"shape": [height, width, channels], "channels", "strides", "classes"}
inline void read_classifier(diem::io::config_object& c, classifier_config& n) {
    std::vector<index_t> shape{n.shape.height, n.shape.width, n.shape.channels};
    const auto positive = [](const std::vector<index_t>& v) {
        return !v.empty() && v.size() <= 64 &&
               std::all_of(v.begin(), v.end(), [](index_t k) { return k > 0 && k <= index_t{1} << 16; });
    };
    c.optional("shape", shape)
        .satisfies(shape.size() == 3 && positive(shape), "height, width and channels, 1 to 65536");
    c.optional("channels", n.channels)
        .satisfies(positive(n.channels), "a number from 1 to 65536 for each of up to 64 layers");
    c.optional("strides", n.strides)
        .satisfies(n.strides.size() == n.channels.size() && positive(n.strides),
                   "as many numbers as channels, from 1 to 65536");
    c.optional("classes", n.classes).at_least(2).at_most(index_t{1} << 16);
    n.shape = {shape[0], shape[1], shape[2]};
}
[[nodiscard]] inline diem::io::json to_json(const classifier_config& n) {
    return {{"shape", {n.shape.height, n.shape.width, n.shape.channels}},
            {"channels", n.channels},
            {"strides", n.strides},
            {"classes", n.classes}};
}

/// `about`: what else is to be said of it, a JSON object, under the state's "about". Throws io_error.
template <diem::Backend B>
void save_classifier(const std::filesystem::path& path, B& b, const classifier<B>& net, const diem::io::json& about) {
    diem::prior::checkpoint_writer<B> out(to_json(net.config()), {{"kind", "classifier"}, {"about", about}});
    out.flat(b, "param/", net.table(), net.parameters());
    out.write(path);
}
/// Throws io_error where the file is no classifier or does not fit its own configuration, config_error where that is wrong.
template <diem::Backend B>
[[nodiscard]] classifier<B> load_classifier(const std::filesystem::path& path, B& b) {
    diem::prior::checkpoint_reader<B> in(path);
    if (in.template state<std::string>("kind") != "classifier") in.fail("holds no classifier");
    classifier_config config;
    diem::io::read_config({in.config(), path.string() + " (config)"},
                          [&](diem::io::config_object& c) { read_classifier(c, config); });
    classifier<B> net(b, std::move(config));
    const auto weights = in.flat("param/", net.table());
    in.finish();
    diem::prior::upload_flat(b, weights, net.mutable_parameters());
    return net;
}

}  // namespace support
