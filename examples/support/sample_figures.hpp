// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/linop/subsample.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/inception_score.hpp>
#include <diem/nn/activation.hpp>

#include "support/classifier_file.hpp"
#include "support/inception_figures.hpp"

/// How near unconditional samples of 32 x 32 x 3 images come to real ones: stand-ins of FID and Inception score, of which only
/// figures of equal numbers of images, and of the same classifier, compare; and these themselves, given weights of Inception-v3.
namespace support {

/// Keys of the stand-ins, and what tables call them; of the rest: `inception_figure_names`.
inline constexpr std::array<std::pair<const char*, const char*>, 3> sample_figure_names{
    {{"frechet_averaged", "Frechet distance, 4 x 4 averages"},
     {"frechet_features", "Frechet distance, features of the classifier"},
     {"class_score", "class score"}}};

/// Squared Frechet distances in float64 to real images,
///   frechet_averaged  of the images averaged over 4 x 4 blocks (192 features), pixels in [0, 1],
///   frechet_features  of the features of a classifier, as they are,
/// and class_score, the formula of the Inception score (one split) on the classifier's probabilities. With `judge_by`, FID and
/// Inception score besides (support/inception_figures.hpp).
template <diem::Backend B, diem::Backend Wide>
class sample_figures {
public:
    /// Sums are taken on `wide`, which must outlive the object. The last two figures where `file` holds a classifier
    /// (examples/classifier.cpp); an empty path leaves them out.
    sample_figures(B& b, Wide& wide, diem::const_view_t<B> truth, const std::filesystem::path& file)
        : wide_(&wide), averages_(moments(b, averaged(b, truth))) {
        if (file.empty()) return;
        net_.emplace(load_classifier(file, b));
        features_ = moments(b, net_->forward(b, truth).features);
    }

    /// Also FID and Inception score by the weights in this file. `data`: the images that the FID is taken to, asked for with the first
    /// figures, as their features take time.
    void judge_by(B& b, const std::filesystem::path& file, std::function<diem::batch<B>()> data) {
        inception_.emplace(file, b);
        data_ = std::move(data);
    }

    [[nodiscard]] diem::io::json operator()(B& b, diem::const_view_t<B> x) {
        using diem::metrics::frechet_distance;
        diem::io::json figures{
            {"frechet_averaged", frechet_distance(*wide_, moments(b, averaged(b, x)), averages_) / 16}};
        if (net_) {
            auto r = net_->forward(b, x);
            diem::nn::softmax_forward(b, r.logits, r.logits);
            figures["frechet_features"] = frechet_distance(*wide_, moments(b, r.features), features_);
            figures["class_score"] = diem::metrics::inception_score(b, r.logits, 1).mean;
        }
        if (inception_) {
            const diem::nn::image_shape shape{32, 32, 3};
            if (!real_) real_ = moments_of_data(b, *wide_, *inception_, shape, data_().cview());
            figures.update(inception_figures(b, *wide_, *inception_, shape, x, *real_));
        }
        return figures;
    }

private:
    [[nodiscard]] static diem::batch<B> averaged(B& b, diem::const_view_t<B> x) {
        diem::batch<B> y(b, 192, x.items());
        diem::linop::subsample(32, 32, 3, 4).apply(b, x, y);
        return y;
    }
    [[nodiscard]] diem::metrics::moments moments(B& b, const diem::batch<B>& x) {
        return diem::metrics::moments_of(*wide_, b, x.cview());
    }

    Wide* wide_;
    diem::metrics::moments averages_, features_;
    std::optional<classifier<B>> net_;
    std::optional<inception<B>> inception_;
    std::function<diem::batch<B>()> data_;
    std::optional<diem::metrics::moments> real_;
};

}  // namespace support
