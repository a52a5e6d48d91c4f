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


def some_network(features, batch=64):
    """A configuration's network, and its EM: a lap of a few steps."""
    network = {"type": "mlp", "features": features, "hidden": [8], "emb": 4}
    em = {"laps": 1, "sampler": {"steps": 2, "batch": batch}, "training": {"steps": 40, "batch": batch},
          "out_of_range": "remove", "refresh": {"samples": 512, "rank": 2}}
    return {"network": network, "em": em}


class OnDisk(Case):
    def same(self, run, other):
        for name in ("gaussian.safetensors", "prior.safetensors", "checkpoint/prior_0.safetensors"):
            self.assertEqual(content(self.folder / run / name), content(self.folder / other / name), name)

    def bound(self):
        """What limits a process, where this build can live with it."""
        if self.run_program("--version", preexec_fn=limited).returncode == 0:
            return limited
        print("a sanitizer takes more memory than the limit: equality alone is tested", file=sys.stderr)
        return None


class Disk(OnDisk):
    @classmethod
    def make_shared(cls):
        some, repeats = normal(500 * FEATURES), ITEMS // 500
        masks = bytes(1 if v > -0.5 else 0 for v in normal(500 * FEATURES, seed=1))
        save(cls.home / "y.npy", "<f4", array.array("f", some).tobytes() * repeats, (ITEMS, FEATURES))
        save(cls.home / "masks.npy", "|u1", masks * repeats, (ITEMS, FEATURES))
        stages = some_network(FEATURES)
        for name, part in (("fit.json", 0), ("part.json", ITEMS - 1)):
            stages["em"]["observations_per_lap"] = part
            cls.configure(cls.home / name, observations="y.npy", operator={"type": "mask", "values": "masks.npy"},
                          gaussian={"rank": 2, "laps": 1, "e_step": "draws"}, scale="auto", **stages)

    def test_more_than_the_memory(self):
        fit = ("fit", "fit.json", "--threads", "2")
        self.succeeds(*fit, "--out", "memory")
        (self.folder / "scratch").mkdir()
        bound = self.bound()
        if bound:
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
        # Samples of a part are fewer bytes than y, lie in memory and are counted.
        self.fails("network's stages need about .* MiB, --memory-limit has", "fit", "part.json", "--out", "new", "--plan",
                   "--memory-limit", LIMIT / 2**30)

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


class Kspace(OnDisk):
    """The operator mri: slices of npy stay there, those of other formats are written to scratch, one after another."""

    COILS, H, W = 4, 8, 8
    SLICES = Y_BYTES // (8 * COILS * H * W)

    @classmethod
    def make_shared(cls):
        count, pixels = 20, cls.H * cls.W
        repeats = cls.SLICES // count
        masks = [[1 if v > -0.5 else 0 for v in normal(pixels, seed=2 + i)] for i in range(count)]
        numbers = array.array("f", normal(2 * count * cls.COILS * pixels))
        for k in range(len(numbers) // 2):  # zero where nothing was measured, by the mask of the slice
            if not masks[k // (cls.COILS * pixels)][k % pixels]:
                numbers[2 * k] = numbers[2 * k + 1] = 0
        save(cls.home / "y.npy", "<c8", numbers.tobytes() * repeats, (count * repeats, cls.COILS, cls.H, cls.W))
        turned = array.array("f")
        for image in range(count * cls.COILS):
            for x in range(cls.W):
                for y in range(cls.H):
                    at = 2 * (image * pixels + y * cls.W + x)
                    turned.extend(numbers[at:at + 2])
        (cls.home / "y.cfl").write_bytes(turned.tobytes() * repeats)
        sizes = [cls.H, cls.W, 1, cls.COILS] + [1] * 9 + [count * repeats]
        (cls.home / "y.hdr").write_text("# Dimensions\n" + " ".join(map(str, sizes)) + "\n")
        save(cls.home / "masks.npy", "|u1", bytes(v for m in masks for v in m) * repeats, (count * repeats, cls.H, cls.W))
        maps = array.array("f", [0.3 * v for v in normal(2 * cls.COILS * pixels, seed=100)])
        save(cls.home / "maps.npy", "<c8", maps.tobytes(), (cls.COILS, cls.H, cls.W))

    def configured(self, y):
        operator = {"type": "mri", "mask": "masks.npy", "coils": "maps.npy"}
        self.configure(self.folder / "fit.json", observations=y, operator=operator, sigma_y=3,
                       gaussian={"rank": 2, "laps": 1, "e_step": "draws", "batch": 16},
                       **some_network(2 * self.H * self.W, batch=16))
        return "fit", "fit.json", "--threads", "1"

    def test_more_than_the_memory(self):
        (self.folder / "scratch").mkdir()
        done = self.run_program(*self.configured("y.npy"), "--out", "memory", cwd=self.folder, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        bound = self.bound()
        files = ["y.npy", "y.cfl"]
        if "HDF5" in self.must("convert", "--help", cwd=self.folder).stdout:
            self.must("convert", "y.npy", "y.h5::z", cwd=self.folder)
            files.append("y.h5::z")
        for y in files:
            fit = self.configured(y)
            if bound and y == "y.npy":
                done = self.run_program(*fit, "--out", "no", "--memory-limit", "100", cwd=self.folder, preexec_fn=bound)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, "diem: (out of memory|y.npy: reading it needs .* of memory)")
            done = self.run_program(*fit, "--out", "disk", "--overwrite", "--scratch", "scratch", cwd=self.folder,
                                    preexec_fn=bound, timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, "Observations and samples, about .* stay in files of scratch")
            self.same("memory", "disk")
            self.assertEqual(os.listdir(self.folder / "scratch"), [])


if __name__ == "__main__":
    support.unittest.main()
