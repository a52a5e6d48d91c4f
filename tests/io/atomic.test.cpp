// SPDX-License-Identifier: Apache-2.0
#include <diem/io/atomic.hpp>
#include <diem/io/folder_lock.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

TEST_CASE("atomic: a file appears at commit, and only then") {
    const temporary_folder folder;
    const auto path = folder / "a";
    write_bytes(path, "old");
    {
        atomic_file file(path);
        file.write("new ");
        file.write("text");
        CHECK(file.offset() == 8);
        CHECK(read_bytes(path) == "old");
        file.commit();
        CHECK(read_bytes(path) == "new text");
    }
    CHECK(read_bytes(path) == "new text");
    CHECK(folder.entries() == 1);
}

TEST_CASE("atomic: without a commit nothing is left behind") {
    const temporary_folder folder;
    const auto path = folder / "a";
    write_bytes(path, "old");
    try {
        atomic_file file(path);
        file.write("half");
        CHECK(folder.entries() == 2);
        throw std::runtime_error("in between");
    } catch (const std::runtime_error&) {
    }
    CHECK(read_bytes(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("atomic: two writers of one path do not mix") {
    const temporary_folder folder;
    const auto path = folder / "a";
    atomic_file first(path), second(path);
    first.write("first");
    second.write("second");
    first.commit();
    CHECK(read_bytes(path) == "first");
    second.commit();
    CHECK(read_bytes(path) == "second");
    CHECK(folder.entries() == 1);
}

TEST_CASE("atomic: what cannot be written is an io_error with the path") {
    const temporary_folder folder;
    const auto absent = folder / "no such folder" / "a";
    CHECK(contains(message_of<io_error>([&] { write_atomically(absent, std::string_view("x")); }), absent.string()));
    const auto occupied = folder / "folder";
    std::filesystem::create_directory(occupied);
    CHECK(
        contains(message_of<io_error>([&] { write_atomically(occupied, std::string_view("x")); }), occupied.string()));
    CHECK(folder.entries() == 1);
    CHECK_THROWS_AS(save_npy(absent, array<float>({1}, {1})), io_error);
    CHECK_THROWS_AS(safetensors_writer().write(absent), io_error);
    CHECK_THROWS_AS(save_json(absent, json::object()), io_error);
}

TEST_CASE("atomic: no device and no pipe is replaced") {
    const temporary_folder folder;
    const auto pipe = folder / "pipe", link = folder / "link";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    std::filesystem::create_symlink("pipe", link);
    for (const auto& path : {pipe, link}) {
        CHECK(contains(message_of<io_error>([&] { write_atomically(path, std::string_view("x")); }),
                       pipe.string() + ": is a device, pipe or socket"));
        CHECK_THROWS_AS(probe_writable(path), io_error);
    }
    CHECK(std::filesystem::is_fifo(pipe));
    CHECK(folder.entries() == 2);
}

TEST_CASE("atomic: a disk that fills up leaves the old file") {
    const temporary_folder folder;
    const auto path = folder / "a";
    write_bytes(path, "old");
    const pid_t child = ::fork();  // the limit is the process's
    if (child == 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{1000, 1000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int code = 1;
        try {
            save_npy(path, array<double>(shape_type{1000}));
        } catch (const io_error& e) {
            code = contains(e.what(), path.string()) && contains(e.what(), "offset 1000") ? 0 : 2;
        } catch (...) {
            code = 3;
        }
        ::_exit(code);
    }
    REQUIRE(child > 0);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(read_bytes(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("atomic: a full file system leaves the old file") {
    const temporary_folder folder;
    const std::string mount = "mount -t tmpfs -o size=64k tmpfs " + folder.path().string() + " 2> /dev/null";
    if (std::system(mount.c_str()) != 0) {
        WARN("SKIPPED: no rights to mount a small tmpfs");
        return;
    }
    write_bytes(folder / "a", "old");
    std::string message;
    try {
        save_npy(folder / "a", array<double>(shape_type{20000}));
    } catch (const io_error& e) {
        message = e.what();
    }
    const std::string kept = read_bytes(folder / "a");
    const std::size_t entries = folder.entries();
    bool small = true;
    try {
        save_npy(folder / "b", array<double>(shape_type{10}));
    } catch (const io_error&) {
        small = false;
    }
    CHECK(std::system(("umount " + folder.path().string()).c_str()) == 0);
    CHECK(contains(message, (folder / "a").string() + ": cannot write at offset"));
    CHECK(contains(message, "No space left"));
    CHECK(kept == "old");
    CHECK(entries == 1);
    CHECK(small);
}

TEST_CASE("atomic: a path is probed without a trace") {
    const temporary_folder folder;
    probe_writable(folder / "a");
    CHECK(folder.entries() == 0);
    write_bytes(folder / "a", "old");
    probe_writable(folder / "a");
    CHECK(read_bytes(folder / "a") == "old");
    CHECK(folder.entries() == 1);
    CHECK_THROWS_AS(probe_writable(folder.path()), io_error);
    CHECK(contains(message_of<io_error>([&] { probe_writable(folder / "none" / "a"); }),
                   (folder / "none" / "a").string()));
}

TEST_CASE("atomic: leftovers of killed writers are removed, and nothing else") {
    const temporary_folder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        atomic_file file(folder / "a.npy");
        file.write("half");
        ::kill(::getpid(), SIGKILL);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(folder.entries() == 1);
    const std::string gone = std::to_string(child);
    const std::vector<std::string> foreign{"a.tmp-" + gone,         "a.tmp-" + gone + "-",
                                           "a.tmp-x" + gone + "-0", "a.tmp-" + gone + "-0.b",
                                           "a.tmp-" + gone + "-0 ", "a.tmp--0",
                                           ".tmp-" + gone + "-0",   "a.tmp-12345678901234-0",
                                           "atmp-" + gone + "-0",   "a.tmp-1-0"};  // process 1 runs
    for (const std::string& name : foreign) write_bytes(folder / name, "x");
    std::filesystem::create_directory(folder / ("b.tmp-" + gone + "-0"));
    std::filesystem::create_symlink(folder / foreign[0], folder / ("c.tmp-" + gone + "-0"));
    CHECK(remove_leftovers(folder.path(), "b.npy") == 0);
    CHECK(remove_leftovers(folder.path(), "a.npy.tmp") == 0);
    CHECK(remove_leftovers(folder.path(), "a.npy") == 1);
    CHECK(folder.entries() == foreign.size() + 2);
    CHECK(remove_leftovers(folder.path()) == 0);
    CHECK(remove_leftovers(folder / "none") == 0);
}

TEST_CASE("folder_lock: one process at a time, and the second is told which") {
    const temporary_folder folder;
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const folder_lock lock(folder.path());
        (void)!::write(ready[1], "x", 1);
        for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    const std::string message = message_of<io_error>([&] { folder_lock lock(folder.path()); });
    CHECK(contains(message, folder.path().string()));
    CHECK(contains(message, "process " + std::to_string(child) + " on "));
    ::kill(child, SIGKILL);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    {
        folder_lock lock(folder.path());  // freed by the kernel
        CHECK(lock.held());
        CHECK(contains(read_bytes(folder / folder_lock::file_name), "process " + std::to_string(::getpid()) + " on "));
        CHECK_THROWS_AS(folder_lock(folder.path()), io_error);
        folder_lock moved = std::move(lock);
        CHECK_FALSE(lock.held());
        CHECK_THROWS_AS(folder_lock(folder.path()), io_error);
    }
    CHECK(folder_lock(folder.path()).held());
    CHECK(read_bytes(folder / folder_lock::file_name).empty());
    CHECK_THROWS_AS(folder_lock(folder / "none"), io_error);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_CASE("atomic: links are followed, permissions are the usual ones") {
    const temporary_folder folder;
    std::filesystem::create_directory(folder / "real");
    write_bytes(folder / "real" / "a", "old");
    std::filesystem::create_symlink(folder / "real" / "a", folder / "link");
    write_atomically(folder / "link", std::string_view("new"));
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(read_bytes(folder / "real" / "a") == "new");
    write_bytes(folder / "plain", "");
    struct stat plain {
    }, atomic{};
    REQUIRE(::stat((folder / "plain").c_str(), &plain) == 0);
    REQUIRE(::stat((folder / "real" / "a").c_str(), &atomic) == 0);
    CHECK((plain.st_mode & 0777) == (atomic.st_mode & 0777));
}

TEST_CASE("json: strict, with path and offset") {
    const temporary_folder folder;
    const auto path = folder / "a.json";
    save_json(path, json{{"a", {1, 2.5, "x"}}, {"b", nullptr}});
    CHECK(load_json(path) == json{{"a", {1, 2.5, "x"}}, {"b", nullptr}});
    CHECK(read_bytes(path).back() == '\n');
    const auto refused = [&](const std::string& text, const std::string& part) {
        write_bytes(path, text);
        const std::string message = message_of<io_error>([&] { (void)load_json(path); });
        INFO(text.substr(0, 60));
        INFO(message);
        CHECK(contains(message, path.string() + ": offset "));
        CHECK(contains(message, part));
    };
    const std::string whole = R"({"a": [1, 2.5, "x"], "b": {"c": null}})";
    for (std::size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size), "");
    refused(R"({"a": 1, "a": 2})", "\"a\" occurs twice");
    refused(R"({"b": {"a": 1, "a": 2}})", "offset 18");
    refused(R"([{"a": 1}, {"a": 1, "a": 2}])", "twice");
    refused("{} {}", "offset 3");
    refused("{\"a\": 1, \"sigma_y\": 1" + std::string(310, '0') + "}", "after the key \"sigma_y\": ");
    refused("// comment\n{}", "");
    refused("[1e999]", "");
    refused("\"\xff\"", "");
    refused(std::string(1000000, '['), "deep");
    CHECK(parse_json("/* comment */ {\"a\": 1} // end", "text", {.comments = true}) == json{{"a", 1}});
    CHECK(parse_json(R"([{"a": 1}, {"a": {"a": 1}}])", "text").size() == 2);
    CHECK_THROWS_AS(load_json(folder / "absent.json"), io_error);
}
