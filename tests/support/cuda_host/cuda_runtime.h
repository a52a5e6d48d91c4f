// SPDX-License-Identifier: Apache-2.0
#pragma once

// Stands in for the CUDA runtime in builds by a host compiler: the calls that diem makes, on one made-up device, done at once.
//
// Its memory is host memory that is inaccessible except while a kernel, a copy or a library call runs: whoever reads a device
// pointer elsewhere crashes. New memory up to 16 MiB is filled with NaN; between blocks lies a gap that the address sanitizer knows.
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

enum cudaError_t : int {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorIllegalAddress = 700,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
struct cuda_host_stream {
    int device = 0;
};
using cudaStream_t = cuda_host_stream*;
inline constexpr unsigned cudaStreamNonBlocking = 1;

namespace cuda_host {

/// The device, and what a test may set.
class device {
public:
    int count = visible();                            ///< devices that are found
    std::size_t capacity = std::size_t{8} << 30;      ///< bytes
    std::string fail_call;                            ///< this call fails once ...
    int fail_code = 0;                                ///< ... with this code
    cudaError_t last = cudaSuccess;                   ///< what cudaGetLastError returns
    std::size_t kernels = 0, threads = 0, waits = 0;  ///< launched, run, and host waits

    static device& get() {
        static device d;
        return d;
    }
    /// 0, or the code with which `call` shall fail now.
    int failure(const char* call) {
        if (fail_call != call) return 0;
        fail_call.clear();
        return fail_code;
    }
    void* allocate(std::size_t bytes) {
        if (inside_ > 0 || used_ + bytes > capacity || top_ + bytes + 2 * gap > reserve) return nullptr;
        char* const p = base_ + top_ + gap;
        top_ = (top_ + gap + bytes + gap - 1) / gap * gap;
        blocks_[p] = bytes;
        used_ += bytes;
#if defined(__SANITIZE_ADDRESS__)
        ASAN_UNPOISON_MEMORY_REGION(p, bytes);
        ASAN_POISON_MEMORY_REGION(p - gap, gap);
        ASAN_POISON_MEMORY_REGION(p + bytes, gap);
#endif
        if (bytes <= filled) {
            open();
            std::memset(p, 0xFF, bytes);
            close();
        }
        return p;
    }
    bool release(void* p) {
        const auto at = blocks_.find(static_cast<char*>(p));
        if (at == blocks_.end()) return false;
#if defined(__SANITIZE_ADDRESS__)
        ASAN_POISON_MEMORY_REGION(p, at->second);
#endif
        used_ -= at->second;
        blocks_.erase(at);
        if (blocks_.empty()) {  // addresses are used again when nothing is left
            madvise(base_, top_, MADV_DONTNEED);
            top_ = 0;
        }
        return true;
    }
    /// Whether the bytes lie in one block.
    [[nodiscard]] bool owns(const void* p, std::size_t bytes) const {
#if defined(DIEM_TEST_THRUST)
        if (!knows(p)) return true;  // Thrust's, whose device is the host here
#endif
        const char* const c = static_cast<const char*>(p);
        const auto after = blocks_.upper_bound(const_cast<char*>(c));
        if (after == blocks_.begin()) return false;
        const auto at = std::prev(after);
        return c + bytes <= at->first + at->second;
    }
    /// Whether the address is the device's at all.
    [[nodiscard]] bool knows(const void* p) const {
        const char* const c = static_cast<const char*>(p);
        return c >= base_ && c < base_ + reserve;
    }
    [[nodiscard]] std::size_t used() const { return used_; }
    void open() {
        if (inside_++ == 0) protect(PROT_READ | PROT_WRITE);
    }
    void close() {
        if (--inside_ == 0) protect(PROT_NONE);
    }

private:
    /// One, unless CUDA_VISIBLE_DEVICES hides it as it would a real one.
    static int visible() {
        const char* const devices = std::getenv("CUDA_VISIBLE_DEVICES");
        return devices != nullptr && *devices == '\0' ? 0 : 1;
    }
    static constexpr std::size_t gap = 256, filled = std::size_t{1} << 24, reserve = std::size_t{1} << 38;
    device() {
        void* const p = mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) std::abort();
        base_ = static_cast<char*>(p);
    }
    void protect(int mode) {
        if (mode != PROT_NONE) opened_ = (top_ + 4095) / 4096 * 4096;
        if (opened_ > 0 && mprotect(base_, opened_, mode) != 0) std::abort();
    }
    char* base_ = nullptr;
    std::size_t top_ = 0, used_ = 0, opened_ = 0;
    int inside_ = 0;
    std::map<char*, std::size_t> blocks_;
};

/// Device memory may be touched while one of these lives.
struct scope {
    scope() { device::get().open(); }
    ~scope() { device::get().close(); }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
};

inline cudaError_t result(int code) {
    if (code != 0) device::get().last = static_cast<cudaError_t>(code);
    return static_cast<cudaError_t>(code);
}

}  // namespace cuda_host

inline const char* cudaGetErrorName(cudaError_t e) {
    switch (e) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorInvalidValue:
            return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation:
            return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidConfiguration:
            return "cudaErrorInvalidConfiguration";
        case cudaErrorInsufficientDriver:
            return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice:
            return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice:
            return "cudaErrorInvalidDevice";
        case cudaErrorIllegalAddress:
            return "cudaErrorIllegalAddress";
    }
    return "unrecognized error code";
}
inline const char* cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "made up by a test"; }
inline cudaError_t cudaGetLastError() {
    auto& d = cuda_host::device::get();
    const cudaError_t e = d.last;
    d.last = cudaSuccess;
    return e;
}
inline cudaError_t cudaGetDeviceCount(int* count) {  // leaves `count` alone where it fails, as the driver does
    auto& d = cuda_host::device::get();
    if (const int code = d.failure("cudaGetDeviceCount")) return cuda_host::result(code);
    if (d.count == 0) return cuda_host::result(cudaErrorInsufficientDriver);
    *count = d.count;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int k) {
    auto& d = cuda_host::device::get();
    if (const int code = d.failure("cudaSetDevice")) return cuda_host::result(code);
    return cuda_host::result(k < 0 || k >= d.count ? cudaErrorInvalidDevice : cudaSuccess);
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
    if (const int code = cuda_host::device::get().failure("cudaStreamCreateWithFlags")) return cuda_host::result(code);
    *s = new cuda_host_stream;
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t s) {
    delete s;
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
    auto& d = cuda_host::device::get();
    ++d.waits;
    return cuda_host::result(d.failure("cudaStreamSynchronize"));
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
inline cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }
inline cudaError_t cudaMalloc(void** p, std::size_t bytes) {
    auto& d = cuda_host::device::get();
    if (const int code = d.failure("cudaMalloc")) return cuda_host::result(code);
    *p = d.allocate(bytes);
    return cuda_host::result(*p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
inline cudaError_t cudaFree(void* p) {
    if (p == nullptr) return cudaSuccess;
    return cuda_host::result(cuda_host::device::get().release(p) ? cudaSuccess : cudaErrorInvalidValue);
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    const auto& d = cuda_host::device::get();
    *total = d.capacity;
    *free = d.capacity - d.used();
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                                     std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t) {
    auto& d = cuda_host::device::get();
    if (const int code = d.failure("cudaMemcpyAsync")) return cuda_host::result(code);
    const bool up = kind == cudaMemcpyHostToDevice;
    const void* const there = up ? to : from;
    const std::size_t pitch = up ? to_pitch : from_pitch;
    if (width > to_pitch || width > from_pitch || height == 0 || d.knows(up ? from : to) ||
        !d.owns(there, pitch * (height - 1) + width))
        return cuda_host::result(cudaErrorInvalidValue);
    const cuda_host::scope inside;
    for (std::size_t k = 0; k < height; ++k)
        std::memcpy(static_cast<char*>(to) + k * to_pitch, static_cast<const char*>(from) + k * from_pitch, width);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t s) {
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, s);
}

/// A kernel: body(block, thread) over the whole grid, blocks from the last to the first, as no kernel may depend on an order.
template <class Body>
cudaError_t cuda_host_grid(cudaStream_t, std::ptrdiff_t blocks, std::ptrdiff_t threads, const Body& body) {
    auto& d = cuda_host::device::get();
    if (const int code = d.failure("kernel launch")) return cuda_host::result(code);
    if (blocks < 1 || blocks > 0x7FFFFFFF || threads < 1 || threads > 1024)
        return cuda_host::result(cudaErrorInvalidConfiguration);
    ++d.kernels;
    d.threads += static_cast<std::size_t>(blocks * threads);
    const cuda_host::scope inside;
    for (std::ptrdiff_t b = blocks - 1; b >= 0; --b)
        for (std::ptrdiff_t t = 0; t < threads; ++t) body(b, t);
    return cudaSuccess;
}
