// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <diem/backend/cuda/error.cuh>
#include <diem/parallel/communicator.hpp>

/// \file
/// Ranks with a device each, by NCCL. Needs the NCCL library (CMake: diem::nccl).
/// \snippet tests/cuda/nccl.cu parallel/nccl.cuh

namespace diem::parallel {

/// `Host` for start, control and what lies in the memory of the host; buffers on the devices go from one to the other by NCCL
/// (2.18 or later). Every exchange begins with a barrier of `Host`: who does not come is named there. One that was begun by all
/// and does not end within the deadline, or fails, ends all of them. One device belongs to one rank.
template <Communicator Host>
class nccl {
public:
    /// `device`: of this rank; `deadline`: seconds. Throws device_error.
    nccl(Host host, int device, double deadline = 60)
        : host_(std::move(host)), state_(std::make_shared<state>()), deadline_(deadline) {
        cuda(cudaSetDevice(device), "cudaSetDevice");
        cuda(cudaStreamCreateWithFlags(&state_->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
        std::vector<ncclUniqueId> id(1);
        if (host_.rank() == 0) checked(ncclGetUniqueId(id.data()), "ncclGetUniqueId");
        parallel::broadcast(host_, id, 0, "the address of NCCL");
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        host_.barrier("the start of NCCL");
        begun(ncclCommInitRankConfig(&state_->comm, host_.size(), id[0], host_.rank(), &config),
              "ncclCommInitRankConfig");
        settle("the start of NCCL");
    }
    [[nodiscard]] int rank() const { return host_.rank(); }
    [[nodiscard]] int size() const { return host_.size(); }
    [[nodiscard]] bool takes_device_memory() const { return true; }

    void broadcast(bytes data, int root, const char* what) const { host_.broadcast(data, root, what); }
    void all_gather(const_bytes own, bytes all, byte_counts counts, const char* what) const {
        if (!on_device(all.data())) return host_.all_gather(own, all, counts, what);
        exchange(what, [&] {
            std::size_t at = 0;
            for (int r = 0; r < size(); ++r) {  // counts differ, which ncclAllGather does not take
                const std::size_t n = counts[static_cast<std::size_t>(r)];
                if (n > 0)
                    begun(ncclBroadcast(own.data(), all.data() + at, n, ncclUint8, r, state_->comm, state_->stream),
                          "ncclBroadcast");
                at += n;
            }
        });
    }
    void all_to_all(const_bytes sent, byte_counts to, bytes received, byte_counts from, const char* what) const {
        if (!on_device(received.data())) return host_.all_to_all(sent, to, received, from, what);
        exchange(what, [&] {
            std::size_t out = 0, in = 0;
            for (int r = 0; r < size(); ++r) {
                const std::size_t s = to[static_cast<std::size_t>(r)], n = from[static_cast<std::size_t>(r)];
                if (s > 0)
                    begun(ncclSend(sent.data() + out, s, ncclUint8, r, state_->comm, state_->stream), "ncclSend");
                if (n > 0)
                    begun(ncclRecv(received.data() + in, n, ncclUint8, r, state_->comm, state_->stream), "ncclRecv");
                out += s;
                in += n;
            }
        });
    }
    void barrier(const char* what) const { host_.barrier(what); }
    void abort(const std::string& message) const { host_.abort(message); }

private:
    struct state {
        ncclComm_t comm = nullptr;
        cudaStream_t stream = nullptr;
        state() = default;
        state(const state&) = delete;
        state& operator=(const state&) = delete;
        ~state() {
            if (comm != nullptr) static_cast<void>(ncclCommAbort(comm));  // frees, and waits for nobody
            if (stream != nullptr) static_cast<void>(cudaStreamDestroy(stream));
        }
    };
    static void cuda(cudaError_t status, const char* call) { diem::detail::cuda::checked(status, call); }
    static void checked(ncclResult_t status, const char* call) {
        if (status != ncclSuccess)
            throw device_error(std::string(call) + " failed: " + ncclGetErrorString(status) + " (" +
                               ncclGetLastError(nullptr) + ")");
    }
    /// A call that may go on after it has returned.
    static void begun(ncclResult_t status, const char* call) {
        if (status != ncclInProgress) checked(status, call);
    }
    /// The same on all ranks, whatever their buffers' sizes.
    [[nodiscard]] static bool on_device(const std::byte* p) {
        cudaPointerAttributes where{};
        if (p != nullptr) cuda(cudaPointerGetAttributes(&where, p), "cudaPointerGetAttributes");
        return where.type == cudaMemoryTypeDevice;
    }
    template <class Begin>
    void exchange(const char* what, const Begin& begin) const {
        host_.barrier(what);
        checked(ncclGroupStart(), "ncclGroupStart");
        begin();
        begun(ncclGroupEnd(), "ncclGroupEnd");
        settle(what);
    }
    /// Waits for what was begun, on the host and on the stream.
    void settle(const char* what) const {
        const auto start = std::chrono::steady_clock::now();
        for (;;) {
            ncclResult_t status = ncclSuccess;
            checked(ncclCommGetAsyncError(state_->comm, &status), "ncclCommGetAsyncError");
            begun(status, what);
            const auto stream = status == ncclInProgress ? cudaErrorNotReady : cudaStreamQuery(state_->stream);
            if (stream == cudaSuccess) return;
            if (stream != cudaErrorNotReady) cuda(stream, "cudaStreamQuery");
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > deadline_)
                host_.abort(std::string("NCCL: \"") + what + "\" was begun by all ranks and not ended within " +
                            std::to_string(static_cast<long>(deadline_)) + " seconds");
            std::this_thread::yield();
        }
    }

    Host host_;
    std::shared_ptr<state> state_;
    double deadline_;
};

}  // namespace diem::parallel
