// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <string>

#include <diem/backend/host_threads.hpp>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;

namespace {

/// A made-up machine: files under a folder of its own.
class machine {
public:
    machine& file(const std::string& path, const std::string& text) {
        const auto at = folder_.path() / path;
        std::filesystem::create_directories(at.parent_path());
        std::ofstream(at) << text;
        return *this;
    }
    [[nodiscard]] double cores() const { return cgroup_cores(folder_.path().string()); }

private:
    test::temporary_folder folder_;
};
const std::string self = "proc/self/cgroup", mount = "sys/fs/cgroup/";

}  // namespace

TEST_CASE("control groups of version 2", "[backend]") {
    CHECK(machine().cores() == 0);
    CHECK(machine().file(self, "0::/\n").cores() == 0);
    CHECK(machine().file(self, "0::/\n").file(mount + "cpu.max", "max 100000\n").cores() == 0);
    CHECK(machine().file(self, "0::/\n").file(mount + "cpu.max", "150000 100000\n").cores() == 1.5);
    // The least limit on the way up counts.
    CHECK(machine()
              .file(self, "0::/user.slice/job_7\n")
              .file(mount + "user.slice/job_7/cpu.max", "800000 100000\n")
              .file(mount + "user.slice/cpu.max", "300000 100000\n")
              .file(mount + "cpu.max", "max 100000\n")
              .cores() == 3);
    CHECK(machine()
              .file(self, "0::/user.slice/job_7\n")
              .file(mount + "user.slice/job_7/cpu.max", "50000 100000\n")
              .file(mount + "user.slice/cpu.max", "300000 100000\n")
              .cores() == 0.5);
    // In a container: the path is the host's, or above what is seen.
    CHECK(machine().file(self, "0::/docker/a7f\n").file(mount + "cpu.max", "200000 50000\n").cores() == 4);
    CHECK(machine().file(self, "0::/../../other\n").file(mount + "cpu.max", "200000 100000\n").cores() == 2);
}

TEST_CASE("control groups of version 1", "[backend]") {
    const std::string lines = "12:memory:/job\n7:cpu,cpuacct:/job\n3:cpuset:/other\n1:name=systemd:/\n0::/\n";
    CHECK(machine().file(self, lines).cores() == 0);
    const auto limited = [&](const std::string& folder, const std::string& quota) {
        return machine()
            .file(self, lines)
            .file(mount + folder + "/cpu.cfs_quota_us", quota)
            .file(mount + folder + "/cpu.cfs_period_us", "100000\n")
            .cores();
    };
    CHECK(limited("cpu,cpuacct/job", "250000\n") == 2.5);
    CHECK(limited("cpu/job", "250000\n") == 2.5);
    CHECK(limited("cpu", "200000\n") == 2);
    CHECK(limited("cpu,cpuacct/job", "-1\n") == 0);
    CHECK(limited("cpuset/other", "200000\n") == 0);
    CHECK(limited("memory/job", "200000\n") == 0);
}

TEST_CASE("what cannot be understood is no limit", "[backend]") {
    for (const char* text : {"", "\n", "100000", "100000 0\n", "0 100000\n", "-5 100000\n", "many 100000\n",
                             "1e400 1\n", "nan 100000\n", "100000 100000x\n", "inf 100000\n"})
        CHECK(machine().file(self, "0::/\n").file(mount + "cpu.max", text).cores() == 0);
    for (const char* text : {"", "0:/\n", "nonsense\n", ":::\n", "0::"})
        CHECK(machine().file(self, text).file(mount + "cpu.max", "x y\n").cores() == 0);
}

TEST_CASE("threads are the lesser of cores and quota, at least one", "[backend]") {
    CHECK(threads_for(8, 0) == 8);
    CHECK(threads_for(8, 2) == 2);
    CHECK(threads_for(8, 2.5) == 3);
    CHECK(threads_for(8, 0.01) == 1);
    CHECK(threads_for(8, 8) == 8);
    CHECK(threads_for(8, 1e300) == 8);
    CHECK(affinity_cores() >= 1);
    CHECK(host_threads() >= 1);
    CHECK(host_threads() <= affinity_cores());
}

#if defined(__linux__)
TEST_CASE("a process bound to one core has one", "[backend]") {
    cpu_set_t before, one;
    REQUIRE(sched_getaffinity(0, sizeof(before), &before) == 0);
    CPU_ZERO(&one);
    for (int k = 0; k < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++k)
        if (CPU_ISSET(k, &before)) CPU_SET(k, &one);
    REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
    CHECK(affinity_cores() == 1);
    CHECK(host_threads() == 1);
    REQUIRE(sched_setaffinity(0, sizeof(before), &before) == 0);
}
#endif
