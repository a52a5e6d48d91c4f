# SPDX-License-Identifier: Apache-2.0
"""The Conan recipe makes a package of the source tree that a program builds with. Eigen and nlohmann/json are the system's.

    conan.py FOLDER      a folder for Conan's files

Needs Conan 2, of build/python (where `./run test` installs it) or on the path. Exit status 77 where there is none."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPE = ROOT / "packaging/conan"


def main(folder):
    own = ROOT / "build/python/bin/conan"
    conan = str(own) if own.exists() else shutil.which("conan")
    if conan is None:
        print("SKIPPED: no Conan (pip install conan): its package was not built")
        return 77
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = os.environ | {"CONAN_HOME": str(folder / "home"), "TMPDIR": str(folder), "TMP": str(folder)}
    needs = re.findall(r'self\.requires\("([^"]+)"', (RECIPE / "conanfile.py").read_text())
    assert len(needs) == 2, needs
    subprocess.run([conan, "profile", "detect"], env=environment, check=True)
    profile = folder / "profile"
    profile.write_text("include(default)\n[settings]\ncompiler.cppstd=20\n[platform_requires]\n" + "\n".join(needs) +
                       "\n[conf]\ntools.cmake.cmake_layout:test_folder=$TMP\ntools.cmake.cmaketoolchain:user_presets=\n")
    done = subprocess.run([conan, "create", str(RECIPE), "--profile:all", str(profile), "--no-remote"], env=environment,
                          stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    version = re.search(r'version = "([^"]+)"', (ROOT / "include/diem/core/version.hpp").read_text())[1]
    if done.returncode == 0 and f"RUN: ./main\ndiem {version}\n" not in re.sub(r"RUN: \S*main", "RUN: ./main", done.stdout):
        print("the program of the package did not say its version")
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
