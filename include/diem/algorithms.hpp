// SPDX-License-Identifier: Apache-2.0
// Written by tools/headers: do not edit.
#pragma once

/// \file
/// All algorithms, for any backend.
/// \snippet tests/examples/prior.cpp algorithms.hpp

#include <diem/core/bfloat16.hpp>
#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/core/version.hpp>
#include <diem/core/view.hpp>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/control_groups.hpp>
#include <diem/backend/fft.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/operand.hpp>
#include <diem/backend/product_precision.hpp>
#include <diem/backend/reference.hpp>
#include <diem/backend/team.hpp>

#include <diem/em/fit.hpp>

#include <diem/io/array.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/config.hpp>
#include <diem/io/content_hash.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/file_kind.hpp>
#include <diem/io/folder_lock.hpp>
#include <diem/io/ismrmrd_header.hpp>
#include <diem/io/ismrmrd_lines.hpp>
#include <diem/io/json.hpp>
#include <diem/io/kspace.hpp>
#include <diem/io/mapped.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>
#include <diem/io/slices.hpp>

#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/parallel/tree_sum.hpp>

#include <diem/linop/compose.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/data.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/fourier.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/image.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/low_rank.hpp>
#include <diem/linop/low_rank_covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>
#include <diem/linop/nonlinear.hpp>
#include <diem/linop/nonlinear_image.hpp>
#include <diem/linop/pixel_runs.hpp>
#include <diem/linop/radon.hpp>
#include <diem/linop/sparse.hpp>
#include <diem/linop/subsample.hpp>

#include <diem/nn/activation.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/attention_block.hpp>
#include <diem/nn/conv.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/ddpm_block.hpp>
#include <diem/nn/ddpm_unet.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/filtered_resample.hpp>
#include <diem/nn/gated_residual.hpp>
#include <diem/nn/group_norm.hpp>
#include <diem/nn/inception.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/modulation.hpp>
#include <diem/nn/modulation_layer.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/pad.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/residual_block.hpp>
#include <diem/nn/unet.hpp>
#include <diem/nn/unet_config.hpp>
#include <diem/nn/update.hpp>
#include <diem/nn/window.hpp>
#include <diem/nn/window_layers.hpp>

#include <diem/solver/bicgstab.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/dense_cholesky.hpp>
#include <diem/solver/gmres.hpp>
#include <diem/solver/status.hpp>

#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/harmonic.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/diffusion/mixture_body.hpp>
#include <diem/diffusion/mixture_parameters.hpp>
#include <diem/diffusion/noise.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/sampling.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/diffusion/score_model.hpp>

#include <diem/mri/coil_compression.hpp>
#include <diem/mri/coil_matrix.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/kspace.hpp>
#include <diem/mri/masks.hpp>
#include <diem/mri/measured.hpp>
#include <diem/mri/resize.hpp>
#include <diem/mri/scaling.hpp>
#include <diem/mri/whitening.hpp>

#include <diem/testing/adjoint.hpp>
#include <diem/testing/counting.hpp>
#include <diem/testing/nonlinear.hpp>
#include <diem/testing/operator.hpp>
#include <diem/testing/report.hpp>
#include <diem/testing/score_model.hpp>

#include <diem/model/any_network.hpp>
#include <diem/model/config.hpp>
#include <diem/model/gaussian_skip.hpp>
#include <diem/model/parameterization.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/model/pretrained_network.hpp>

#include <diem/posterior/any_policies.hpp>
#include <diem/posterior/diffpir.hpp>
#include <diem/posterior/dps.hpp>
#include <diem/posterior/gaussian_conditional.hpp>
#include <diem/posterior/gaussian_dense.hpp>
#include <diem/posterior/guidance.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/pigdm.hpp>
#include <diem/posterior/policies.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/posterior/tally.hpp>
#include <diem/posterior/tmpd.hpp>

#include <diem/train/augmentation.hpp>
#include <diem/train/concept.hpp>
#include <diem/train/loss.hpp>
#include <diem/train/moments.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/ppca.hpp>
#include <diem/train/shuffle.hpp>
#include <diem/train/trainer.hpp>

#include <diem/prior/at_size.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/data_sketch.hpp>
#include <diem/prior/descriptions.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/diagnostics_json.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/gaussian_e_steps.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/gaussian_innovation.hpp>
#include <diem/prior/gaussian_mixture.hpp>
#include <diem/prior/gaussian_options.hpp>
#include <diem/prior/guard.hpp>
#include <diem/prior/held_out.hpp>
#include <diem/prior/items_at_once.hpp>
#include <diem/prior/lap_samples.hpp>
#include <diem/prior/learn.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/mixture_draws.hpp>
#include <diem/prior/mixture_options.hpp>
#include <diem/prior/moments.hpp>
#include <diem/prior/noise_level.hpp>
#include <diem/prior/observed_variance.hpp>
#include <diem/prior/recoverability.hpp>
#include <diem/prior/run.hpp>
#include <diem/prior/run_file.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/prior/same_run.hpp>
#include <diem/prior/settings.hpp>
#include <diem/prior/some_items.hpp>
#include <diem/prior/training_file.hpp>

#include <diem/metrics/calibration.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/inception_score.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/metrics/ssim.hpp>
