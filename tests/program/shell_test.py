# SPDX-License-Identifier: Apache-2.0
"""Completion in bash and zsh, and the manual: they know every command and option that --help knows."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import DIEM, Case

PROGRAMS = pathlib.Path(os.environ["DIEM_PROGRAMS"])

FILES = {"zsh": ["zsh", "-n"], "groff": ["groff", "-man", "-Tascii", "-ww", "-z"]}


class Shell(Case):
    @classmethod
    def make_shared(cls):
        pass

    def said(self, *arguments):
        return self.succeeds(*arguments).stdout

    def commands(self):
        block = self.said("--help").split("Subcommands:\n")[1]
        return re.findall(r"^  ([a-z]+) ", block, re.MULTILINE)

    def every_command(self):
        """Those below others, too: "mri maps"."""
        paths = []
        for command in self.commands():
            said = self.said(command, "--help")
            below = said.split("Subcommands:\n")[1] if "Subcommands:\n" in said else ""
            paths += [command] + [f"{command} {name}" for name in re.findall(r"^  ([a-z]+) ", below, re.MULTILINE)]
        return paths

    def listed(self, command):
        """Options in the block that CLI11 makes: indented lines that begin with one."""
        return {name for line in re.findall(r"^  (-.*)$", self.said(*command.split(), "--help"), re.MULTILINE)
                for name in re.findall(r"--[a-z][a-z-]*", line.split("  ")[0])}

    def complete(self, line):
        """What bash offers for the last word of a line."""
        words = line.split(" ")
        script = ('source /dev/stdin <<< "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _diem; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "bash", self.said("completion", "bash"), *words], capture_output=True,
                              text=True, check=True)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_commands(self):
        commands = self.commands()
        self.assertIn("fit", commands)
        self.assertIn("report", commands)
        self.assertEqual(self.complete("diem "), set(commands))
        self.assertEqual(self.complete("diem re"), {"report"})
        self.assertEqual(self.complete("diem --v"), {"--version"})

    def test_options_of_every_command(self):
        self.assertIn("mri maps", self.every_command())
        self.assertEqual(self.complete("diem mri "), {"maps", "whiten", "info"})
        for command in self.every_command():
            listed = self.listed(command)
            self.assertIn("--help", listed)
            offered = self.complete(f"diem {command} -")
            self.assertEqual({o for o in offered if o.startswith("--")}, listed, command)
        self.assertEqual(self.complete("diem --quiet fit x.json --ov"), {"--overwrite"})

    def test_values(self):
        self.assertEqual(self.complete("diem fit --backend "), {"auto", "cuda", "eigen"})
        self.assertEqual(self.complete("diem posterior --layout channels_f"), {"channels_first"})
        self.assertEqual(self.complete("diem completion --backend x"), set())

    def checked(self, program, text):
        if shutil.which(program) is None:
            self.skipTest(f"no {program}: what it would read was not looked at by it")
        done = subprocess.run([*FILES[program], "/dev/stdin"], input=text, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_zsh(self):
        text = self.said("completion", "zsh")
        self.assertTrue(text.startswith("#compdef diem\n"))
        for command in self.commands():
            self.assertIn(f"'{command}:", text)
            block = re.search(rf"^        {command}\)\n(.*?);;", text, re.MULTILINE | re.DOTALL)[1]
            for option in self.listed(command):
                self.assertIn(f"'{option}[", block, command)
        for command in self.every_command():
            if " " in command:
                name = command.split()[1]
                block = re.search(rf"^ +{name}\)\n(.*?);;", text, re.MULTILINE | re.DOTALL)[1]
                for option in self.listed(command):
                    self.assertIn(f"'{option}[", block, command)
        self.checked("zsh", text)

    def test_manual(self):
        text = self.said("man-page")
        for command in self.every_command():
            block = text.split(f".SS diem {command}\n")[1].split(".SS ")[0]
            for option in self.listed(command):
                self.assertIn(option.replace("-", "\\-"), block, command)
        self.assertIn("0 where the result can be trusted", text)
        self.checked("groff", text)

    def test_version(self):
        done = subprocess.run([DIEM, "--version"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"^diem \d+\.\d+\.\d+ \(.*; backends: eigen.*\)\n$")

    def test_processors_with_fewer_instructions(self):
        if shutil.which("qemu-x86_64") is None:
            self.skipTest("no qemu-x86_64 (Debian: qemu-user): the program was not tried on lesser processors")
        built = re.search(r"avx512|avx2", subprocess.run([DIEM, "--version"], capture_output=True, text=True, check=True).stdout)
        if built is None:
            self.skipTest("this program was built for any processor")
        for processor in ("Nehalem",) if built[0] == "avx2" else ("Nehalem", "Haswell"):
            done = subprocess.run(["qemu-x86_64", "-cpu", processor, DIEM, "--version"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn("diem was built for processors with AVX", done.stderr)
            other = subprocess.run(["qemu-x86_64", "-cpu", processor, PROGRAMS / "covariances", "--version"], capture_output=True, text=True)
            self.assertEqual((other.returncode, other.stdout, other.stderr), (1, "", done.stderr))

    def test_no_escape_sequences(self):
        for arguments in (("--help",), ("doctor",), ("report", "--help")):
            self.assertNotIn("\x1b", self.said(*arguments))


if __name__ == "__main__":
    unittest.main()
