# SPDX-License-Identifier: Apache-2.0
"""`diem fit` on data of several times the memory that it may have: the same numbers, to the bit, as in memory."""

import array
import os
import pathlib
import resource
import struct
import subprocess
import sys

import support
from support import Case, content, normal

ITEMS, FEATURES = 90000, 256
Y_BYTES = 4 * ITEMS * FEATURES  # as large are the masks, in float32, and the samples of a lap
LIMIT = Y_BYTES // 3


def save(path, kind, values, shape):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    pathlib.Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + values)


def limited(most=LIMIT):
    """Memory that is this process's alone; what is mapped of files does not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


class Disk(Case):
    @classmethod
    def make_shared(cls):
        some, repeats = normal(500 * FEATURES), ITEMS // 500
        masks = bytes(1 if v > -0.5 else 0 for v in normal(500 * FEATURES, seed=1))
        save(cls.home / "y.npy", "<f4", array.array("f", some).tobytes() * repeats, (ITEMS, FEATURES))
        save(cls.home / "masks.npy", "|u1", masks * repeats, (ITEMS, FEATURES))
        network = {"type": "mlp", "features": FEATURES, "hidden": [8], "emb": 4}
        em = {"laps": 1, "sampler": {"steps": 2, "batch": 64}, "training": {"steps": 40, "batch": 64},
              "out_of_range": "remove", "refresh": {"samples": 512, "rank": 2}}
        cls.configure(cls.home / "fit.json", observations="y.npy", operator={"type": "mask", "values": "masks.npy"},
                      gaussian={"rank": 2, "laps": 1, "e_step": "draws"}, network=network, em=em, scale="auto")

    def same(self, run, other):
        for name in ("gaussian.safetensors", "prior.safetensors", "checkpoint/prior_0.safetensors"):
            self.assertEqual(content(self.folder / run / name), content(self.folder / other / name), name)

    def test_more_than_the_memory(self):
        fit = ("fit", "fit.json", "--threads", "2")
        self.succeeds(*fit, "--out", "memory")
        (self.folder / "scratch").mkdir()
        bound = limited
        if self.run_program("--version", preexec_fn=limited).returncode != 0:
            print("a sanitizer takes more memory than the limit: equality alone is tested", file=sys.stderr)
            bound = None
        else:
            done = self.run_program(*fit, "--out", "no", "--memory-limit", "100", cwd=self.folder, preexec_fn=limited)
            self.assertEqual(done.returncode, 1, done.stdout)  # in memory, where it does not fit
            self.assertRegex(done.stderr, "diem: (out of memory|y.npy: reading it needs .* of memory)")
        done = self.run_program(*fit, "--out", "disk", "--scratch", "scratch", cwd=self.folder, preexec_fn=bound)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, "Observations and samples, about .* stay in files of scratch")
        self.same("memory", "disk")
        self.assertEqual(os.listdir(self.folder / "scratch"), [])
        # Chosen where it must be, and said.
        plan = self.succeeds("fit", "fit.json", "--out", "new", "--plan", "--memory-limit", LIMIT / 2**30).stdout
        self.assertRegex(plan, "Observations and samples, about .* are more than --memory-limit has .*: they stay in files of ")
        self.assertFalse((self.folder / "new").exists())

    def test_a_file_cut_short(self):
        self.configure(self.folder / "long.json", observations="y.npy", operator={"type": "identity"},
                       gaussian={"rank": 2, "laps": 1000000, "e_step": "draws"})
        process = subprocess.Popen(self.command(("fit", "long.json", "--out", "run", "--scratch", ".")), cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            for line in process.stdout:
                if "E-step draws" in line:  # all is loaded
                    break
            os.truncate(self.folder / "y.npy", 128)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        self.assertEqual(process.returncode, 1, said)
        self.assertRegex(said, "^diem: a file was cut short, .*observations")

    def test_what_cannot_be(self):
        self.fails("--scratch: Directory does not exist", "fit", "fit.json", "--out", "bad", "--scratch", "none", code=2)
        data = (self.folder / "y.npy").read_bytes()
        (self.folder / "y.npy").write_bytes(data[:-4])
        self.fails("y.npy: .*needs .* bytes of data, the file has", "fit", "fit.json", "--out", "bad", "--scratch", ".")


if __name__ == "__main__":
    support.unittest.main()
