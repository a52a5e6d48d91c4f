// SPDX-License-Identifier: Apache-2.0
#include <diem/io/atomic.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/safetensors.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
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
    refused("// comment\n{}", "");
    refused("[1e999]", "");
    refused("\"\xff\"", "");
    refused(std::string(1000000, '['), "deep");
    CHECK(parse_json("/* comment */ {\"a\": 1} // end", "text", {.comments = true}) == json{{"a", 1}});
    CHECK(parse_json(R"([{"a": 1}, {"a": {"a": 1}}])", "text").size() == 2);
    CHECK_THROWS_AS(load_json(folder / "absent.json"), io_error);
}
