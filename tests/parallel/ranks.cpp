// SPDX-License-Identifier: Apache-2.0
// A small diffusion EM on the ranks of mpirun, for ranks_test.py: ranks OUT RESUME ACT AT. ACT is what rank size - 1 does at its progress
// number AT: none, kill (itself), stop (hang), throw, cancel.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/parallel/mpi.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/gaussian_fit.hpp>

using namespace diem;

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    const parallel::any_communicator ranks(parallel::mpi(5));
    return parallel::guarded(ranks, [&] {
        using B = eigen_backend<float>;
        using network = nn::mlp<B>;
        B b(1);
        constexpr index_t items = 50;
        batch<B> x(b, 4, items), masks(b, 4, items), y(b, 4, items);
        b.fill_normal({.seed = 2, .lane = random_lane::user}, x.view());
        linop::draw_mask<B>(b, {.seed = 4, .lane = random_lane::user}, 0.6, 1, masks.view());
        const auto mask = linop::mask<B>::per_item(masks.view());
        const linop::isotropic_covariance noise(4, 0.01);
        posterior::simulate<B>(b, mask, noise, x.cview(), {.seed = 5, .lane = 4}, y.view());

        prior::em_options o;
        o.laps = 3;
        o.refresh.rank = 2;
        o.sampling = {.steps = 8, .batch = 8, .sigma_min = 1e-2, .sigma_max = 10};
        o.training = {.steps = 20, .batch = 22, .parts = 5, .rate = {.initial = 3e-3}, .adam = {.ema_decay = 0.8}};
        o.training.report_every = 5;
        o.seed = 6;

        const std::string act = argv[3];
        std::atomic<bool> cancel = false;
        int left = std::atoi(argv[4]);
        prior::run<B, network> run;
        run.folder = argv[1];
        run.resume = std::string(argv[2]) == "resume";
        run.save_every = 0;
        run.ranks = ranks;
        run.cancel = &cancel;
        run.on_progress = [&](const prior::progress&) {
            if (ranks.rank() != ranks.size() - 1 || --left != 0) return;
            if (act == "kill") ::raise(SIGKILL);
            if (act == "stop") ::pause();
            if (act == "throw") throw io_error("y.npy: a bad file");
            if (act == "cancel") cancel = true;
        };
        const network net({.features = 4, .hidden = {16}, .embedding = 8});
        const auto result = prior::fit_diffusion(b, prior::learned<B, network>(b, prior::isotropic_gaussian(b, 4)), net,
                                                 posterior::observe(b, y.cview(), mask, noise), o, run);
        if (result.status != prior::run_status::completed) return 3;
        // What every rank holds is what rank 0 wrote.
        auto own = to_host(b, result.prior.last_weights()), first = own;
        parallel::broadcast(ranks, first, 0, "weights of rank 0");
        if (parallel::any_of(ranks, own != first, "comparison")) return 4;
        if (ranks.rank() != 0) return 0;
        for (const float w : own) std::cout << std::hexfloat << w << '\n';
        for (const auto& d : result.prior.history)
            std::cout << d.samples << ' ' << d.data_residual << ' ' << d.loss << ' ' << d.change << '\n';
        for (const float m : to_host(b, result.prior.mean())) std::cout << m << '\n';
        for (const float u : to_host(b, result.prior.estimate()->u())) std::cout << u << '\n';
        std::cout << std::flush;
        return 0;
    });
}
