// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/config.hpp>
#include <diem/io/content_hash.hpp>
#include <diem/io/safetensors.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/inception_score.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/inception.hpp>
#include <diem/prior/checkpoint.hpp>

/// Frechet Inception distance and Inception score, by weights that the user has (tools/convert_inception).
namespace support {

/// Weights of Inception-v3 from a file; images of colour of any size, in [-2, 2].
template <diem::Backend B>
class inception {
public:
    struct result {
        diem::metrics::moments features;
        diem::batch<B> probabilities;  ///< classes x items, softmax of all logits without the bias of the last layer
    };

    /// Throws io_error where the file holds other weights (naming the tensor and both shapes), config_error where its own
    /// configuration is wrong.
    inception(const std::filesystem::path& file, B& b) : file_(file) {
        diem::prior::checkpoint_reader<B> in(file);
        if (in.template state<std::string>("kind") != "inception") in.fail("holds no Inception-v3");
        diem::nn::inception_config c;
        diem::io::read_config({in.config(), file.string() + " (config)"}, [&](diem::io::config_object& o) {
            std::string type;
            o.required("type", type).satisfies(type == "inception_v3", "\"inception_v3\"");
            o.optional("classes", c.classes).at_least(1).at_most(diem::index_t{1} << 16);
            o.optional("divisor", c.divisor)
                .satisfies(16 % std::max<diem::index_t>(c.divisor, 1) == 0 && c.divisor > 0, "1, 2, 4, 8 or 16");
        });
        net_ = diem::nn::inception_v3(c);
        const auto values = in.flat("param/", net_.parameters());
        in.finish();
        hash_.values(std::span(values));
        weights_ = diem::to_backend(b, values, net_.parameters().size(), 1);
    }
    [[nodiscard]] const std::filesystem::path& file() const { return file_; }
    [[nodiscard]] const diem::io::content_hash& hash() const { return hash_; }
    [[nodiscard]] const diem::nn::inception_v3& net() const { return net_; }

    /// Of the images x, sums of the features on `wide`. value_error with fewer than two images.
    template <diem::Backend Wide>
    [[nodiscard]] result operator()(B& b, Wide& wide, diem::nn::image_shape shape, diem::const_view_t<B> x) const {
        const diem::const_vector_t<B> p = weights_.flat();
        diem::metrics::moments_accumulator<Wide> sum(wide, net_.features());
        result r{{}, {b, net_.config().classes, x.items()}};
        for (diem::index_t first = 0; first < x.items(); first += part) {
            const diem::index_t count = std::min(part, x.items() - first);
            diem::batch<B> f(b, net_.features(), count);
            net_.forward<B>(b, p, shape, x.item_range(first, count), f);
            sum.add(b, f.cview());
            const diem::view_t<B> z = r.probabilities.view().item_range(first, count);
            net_.logits<B>(b, p, f, z, false);
            diem::nn::softmax_forward<B>(b, diem::const_view_t<B>(z), z);
        }
        r.features = sum.result();
        return r;
    }

private:
    static constexpr diem::index_t part = 256;

    std::filesystem::path file_;
    diem::nn::inception_v3 net_;
    diem::io::content_hash hash_;
    diem::batch<B> weights_;
};

/// Moments of a data set's features, kept in the file STEM.<digits of the key>.moments.safetensors beside the weights. The key is a hash
/// of weights, images and `shape`: a file of another key, or one that cannot be read, is written anew.
template <diem::Backend B, diem::Backend Wide>
[[nodiscard]] diem::metrics::moments moments_of_data(B& b, Wide& wide, const inception<B>& net,
                                                     diem::nn::image_shape shape, diem::const_view_t<B> x) {
    using namespace diem;
    auto hash = net.hash();
    for (const index_t extent : {shape.height, shape.width, shape.channels, x.items()})
        hash.number(static_cast<std::uint64_t>(extent));
    hash.values(std::span<const scalar_t<B>>(to_host(b, x)));
    const auto key = hash.hex();
    const index_t d = net.net().features();
    auto path = net.file();
    path.replace_extension(key.substr(0, 8) + ".moments.safetensors");
    try {
        if (std::filesystem::exists(path)) {
            io::safetensors_file in(path);
            if (in.metadata("key") == key) {
                in.verify();
                metrics::moments m{d, x.items(), std::vector<double>(static_cast<std::size_t>(d)),
                                   std::vector<double>(static_cast<std::size_t>(d * d))};
                in.read_into("mean", {d}, std::span<double>(m.mean));
                in.read_into("cov", {d, d}, std::span<double>(m.cov));
                return m;
            }
        }
    } catch (const io_error& e) {
        std::cerr << "warning: " << e.what() << ": computed anew\n";
    }
    std::cout << "features of " << x.items() << " images by " << net.file().string() << ", once, kept in "
              << path.string() << std::endl;
    const auto m = net(b, wide, shape, x).features;
    io::safetensors_writer out;
    out.hash_contents();
    out.metadata("key", key);
    out.add("mean", {d}, std::span<const double>(m.mean));
    out.add("cov", {d, d}, std::span<const double>(m.cov));
    try {
        out.write(path);
    } catch (const io_error& e) {
        std::cerr << "warning: " << e.what() << ": to be computed again next time\n";
    }
    return m;
}

/// Keys of the figures, and what tables call them.
inline constexpr std::array<std::pair<const char*, const char*>, 2> inception_figure_names{
    {{"fid", "FID"}, {"inception_score", "Inception score"}}};

/// FID of the images x to `real`, and their Inception score as mean and deviation over up to 10 splits.
template <diem::Backend B, diem::Backend Wide>
[[nodiscard]] diem::io::json inception_figures(B& b, Wide& wide, const inception<B>& net, diem::nn::image_shape shape,
                                               diem::const_view_t<B> x, const diem::metrics::moments& real) {
    const auto r = net(b, wide, shape, x);
    const auto score =
        diem::metrics::inception_score(b, r.probabilities.cview(), std::min<diem::index_t>(10, x.items()));
    return {{"fid", diem::metrics::frechet_distance(wide, r.features, real)},
            {"inception_score", score.mean},
            {"inception_score_deviation", score.deviation},
            {"inception_images", x.items()},
            {"inception_real_images", real.count}};
}

}  // namespace support
