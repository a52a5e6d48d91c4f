// SPDX-License-Identifier: Apache-2.0
// A small diffusion EM on the ranks of mpirun, for ranks_test.py: ranks OUT RESUME ACT AT [device]. ACT is what rank size - 1
// does at its progress number AT: none, kill (itself), stop (hang), freeze (as its machine would), throw, cancel; draws: cancel, where the first E-step is by
// exact draws. Rank 0 says on the error stream how many batches of the first lap were drawn. With ACT = traffic nothing is learned: AT numbers of 8 parts are summed, and rank 0 tells bytes that it
// sent, and seconds. device: as if buffers lay in a device's memory, and MPI were given them.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/parallel/mpi.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/masked_normal.hpp"

using namespace diem;

namespace {

/// Counts what this rank sends to others.
struct counted {
    const parallel::any_communicator& c;
    std::size_t& sent;
    [[nodiscard]] int rank() const { return c.rank(); }
    [[nodiscard]] int size() const { return c.size(); }
    [[nodiscard]] bool takes_device_memory() const { return c.takes_device_memory(); }
    [[nodiscard]] std::size_t others() const { return static_cast<std::size_t>(c.size() - 1); }
    void broadcast(parallel::bytes d, int root, const char* what) const {
        if (root == rank()) sent += d.size() * others();
        c.broadcast(d, root, what);
    }
    void all_gather(parallel::const_bytes own, parallel::bytes all, parallel::byte_counts n, const char* what) const {
        sent += own.size() * others();
        c.all_gather(own, all, n, what);
    }
    void all_to_all(parallel::const_bytes s, parallel::byte_counts to, parallel::bytes r, parallel::byte_counts from,
                    const char* what) const {
        sent += s.size() - to[static_cast<std::size_t>(rank())];
        c.all_to_all(s, to, r, from, what);
    }
    void barrier(const char* what) const { c.barrier(what); }
    void abort(const std::string& message) const { c.abort(message); }
};

void traffic(const parallel::any_communicator& ranks, index_t n) {
    using B = eigen_backend<float>;
    B b(1);
    constexpr index_t parts = 8;
    batch<B> total(b, n, 1);
    std::size_t sent = 0;
    double best = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
        parallel::tree_sum<batch<B>> own;
        for (index_t k = parallel::first_of(parts, ranks.rank(), ranks.size());
             k < parallel::first_of(parts, ranks.rank() + 1, ranks.size()); ++k) {
            batch<B> part(b, n, 1);
            b.fill(part.view(), 1.0F);
            own.push({k, 0, std::move(part)}, [&](auto& l, auto& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); });
        }
        sent = 0;
        ranks.barrier("the start");
        const auto start = std::chrono::steady_clock::now();
        parallel::all_reduce(counted{ranks, sent}, b, own, parts, total.flat(), "sum");
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    if (ranks.rank() == 0) std::cout << sent << ' ' << best << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 && argc != 6) return 2;
    const bool freezes = std::string(argv[3]) == "freeze";  // what nobody waits for in vain is not to be what ends it
    const parallel::any_communicator ranks(
        parallel::mpi({.deadline = freezes ? 100.0 : 5.0, .silence = 3, .device_memory = argc == 6}));
    return parallel::guarded(ranks, [&] {
        if (std::string(argv[3]) == "traffic") {
            traffic(ranks, std::atol(argv[4]));
            return 0;
        }
        using B = eigen_backend<float>;
        using network = nn::mlp<B>;
        B b(1);
        const test::masked_normal<B> data(b, 50);

        prior::em_options o;
        o.laps = 3;
        o.refresh.rank = 2;
        o.sampling = {.steps = 8, .batch = 8, .sigma_min = 1e-2, .sigma_max = 10};
        o.training = {.steps = 20, .batch = 22, .parts = 5, .rate = {.initial = 3e-3}, .adam = {.ema_decay = 0.8}};
        o.training.report_every = 5;
        o.seed = 6;

        const std::string act = argv[3];
        if (act == "draws") {
            o.initial_e_step = prior::gaussian_e_step::draws;
            o.sampling.samples_per_observation = 2;
        }
        std::atomic<bool> cancel = false;
        int left = std::atoi(argv[4]), drawn_here = 0;
        index_t first_lap = -1;
        prior::run<B, network> run;
        run.folder = argv[1];
        run.resume = std::string(argv[2]) == "resume";
        run.save_every = 0;
        run.ranks = ranks;
        run.cancel = &cancel;
        run.on_progress = [&](const prior::progress& p) {
            if (first_lap < 0) first_lap = p.lap;
            drawn_here += p.stage == prior::progress::stage_type::sampling && p.lap == first_lap;
            if (ranks.rank() != ranks.size() - 1 || --left != 0) return;
            if (act == "kill") ::raise(SIGKILL);
            if (act == "stop") ::pause();
            if (act == "freeze") {
                ::raise(SIGSTOP);
                ::pause();  // mpirun wakes it before it ends it
            }
            if (act == "throw") throw io_error("y.npy: a bad file");
            if (act == "cancel" || act == "draws") cancel = true;
        };
        const network net({.features = 4, .hidden = {16}, .embedding = 8});
        const auto result = prior::fit_diffusion(b, prior::learned<B, network>(b, prior::isotropic_gaussian(b, 4)), net,
                                                 data.observed(b), o, run);
        if (result.status != prior::run_status::completed) return 3;
        // What every rank holds is what rank 0 wrote.
        auto own = to_host(b, result.prior.last_weights()), first = own;
        parallel::broadcast(ranks, first, 0, "weights of rank 0");
        if (parallel::any_of(ranks, own != first, "comparison")) return 4;
        batch<B> drawn(b, 4, 30);  // in four batches
        prior::sample(b, result.prior, result.prior.drawing.sampling, {.seed = 9}, drawn.view(), nullptr, ranks);
        if (ranks.rank() != 0) return 0;
        std::cerr << "drew " << drawn_here << " batches of lap " << first_lap << std::endl;
        for (const float v : to_host(b, drawn)) std::cout << std::hexfloat << v << '\n';
        for (const float w : own) std::cout << std::hexfloat << w << '\n';
        for (const auto& d : result.prior.history)
            std::cout << d.samples << ' ' << d.data_residual << ' ' << d.loss << ' ' << d.change << '\n';
        for (const float m : to_host(b, result.prior.mean())) std::cout << m << '\n';
        for (const float u : to_host(b, result.prior.estimate()->u())) std::cout << u << '\n';
        std::cout << std::flush;
        return 0;
    });
}
