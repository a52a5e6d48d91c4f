// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <diem/backend/eigen.hpp>
#include <diem/io/json.hpp>
#include <diem/linop/subsample.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/inception_score.hpp>
#include <diem/nn/activation.hpp>

#include "support/classifier_file.hpp"
#include "support/image_batches.hpp"

/// How near unconditional samples of 32 x 32 x 3 images come to real ones. Stand-ins of FID and Inception score, which need
/// the weights of Inception-v3: only figures of equal numbers of images, and of the same classifier, compare.
namespace support {

/// Keys of the figures, and what tables call them.
inline constexpr std::array<std::pair<const char*, const char*>, 3> sample_figure_names{
    {{"frechet_averaged", "Frechet distance, 4 x 4 averages"},
     {"frechet_features", "Frechet distance, features of the classifier"},
     {"class_score", "class score"}}};

/// Squared Frechet distances in float64 to real images,
///   frechet_averaged  of the images averaged over 4 x 4 blocks (192 features), pixels in [0, 1],
///   frechet_features  of the features of a classifier, as they are,
/// and class_score, the formula of the Inception score (one split) on the classifier's probabilities.
class sample_figures {
public:
    /// The last two where `file` holds a classifier (examples/classifier.cpp); an empty path leaves them out.
    sample_figures(backend_type& b, image_view truth, const std::filesystem::path& file)
        : wide_(b.threads()), averages_(moments(b, averaged(b, truth))) {
        if (file.empty()) return;
        net_.emplace(load_classifier(file, b));
        features_ = moments(b, net_->forward(b, truth).features);
    }

    [[nodiscard]] diem::io::json operator()(backend_type& b, image_view x) {
        using diem::metrics::frechet_distance;
        diem::io::json figures{
            {"frechet_averaged", frechet_distance(wide_, moments(b, averaged(b, x)), averages_) / 16}};
        if (net_) {
            auto r = net_->forward(b, x);
            diem::nn::softmax_forward<backend_type>(b, r.logits, r.logits);
            figures["frechet_features"] = frechet_distance(wide_, moments(b, r.features), features_);
            figures["class_score"] = diem::metrics::inception_score<backend_type>(b, r.logits, 1).mean;
        }
        return figures;
    }

private:
    [[nodiscard]] static images averaged(backend_type& b, image_view x) {
        images y(b, 192, x.items());
        diem::linop::subsample(32, 32, 3, 4).apply<backend_type>(b, x, y);
        return y;
    }
    [[nodiscard]] diem::metrics::moments moments(backend_type& b, const images& x) {
        return diem::metrics::moments_of(wide_, b, x.cview());
    }

    diem::eigen_backend<double> wide_;
    diem::metrics::moments averages_, features_;
    std::optional<classifier<backend_type>> net_;
};

}  // namespace support
