# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program `diem` share: arrays as npy without numpy, runs of the program, one small prior of each kind."""

import array
import ast
import importlib.machinery
import importlib.util
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

DIEM = os.environ["DIEM"]
BACKEND = os.environ.get("DIEM_BACKEND", "eigen")
MLP = {"type": "mlp", "features": 16, "hidden": [32], "emb": 8}  # of what make_shared makes
COMPUTES = ("fit", "sample", "posterior", "evaluate")


ROOT = pathlib.Path(__file__).resolve().parents[2]


def tool(name):
    """The script tools/NAME as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def size(shape):
    return math.prod(shape)


def save(path, shape, values, kind="<f4"):
    """float32, C order; or complex64 ("<c8") of real and imaginary parts in turn."""
    values = array.array("f", values)
    assert len(values) == size(shape) * (2 if kind == "<c8" else 1), (len(values), shape)
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    pathlib.Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + values.tobytes())


def load(path, kind=None):
    """(shape, values), of this kind where one is given."""
    data = pathlib.Path(path).read_bytes()
    end = 10 + struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:end].decode())
    assert kind in (None, header["descr"]), header
    return list(header["shape"]), array.array("f", data[end:])


def without_seconds(value):
    """Of a file's description what does not depend on the clock; so does the hash of the rest."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k and k != "diem.xxh64.metadata"}
    if isinstance(value, list):
        return [without_seconds(v) for v in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        return without_seconds(json.loads(value))
    return value


def content(path):
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return without_seconds(json.loads(data[8:end])), data[end:]


def normal(count, seed=0):
    draw = random.Random(seed)
    return [draw.gauss(0, 1) for _ in range(count)]


class Case(unittest.TestCase):
    """Each test has a folder of its own, with what `make_shared` made beside it."""

    shared = None

    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="diem-program-"))
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        cls.home = cls.root / "shared"
        cls.home.mkdir()
        cls.make_shared()

    @classmethod
    def make_shared(cls):
        """y of 40 items of 4 x 4, seen through masks, and a Gaussian prior of them."""
        save(cls.home / "x.npy", [40, 4, 4], [0.5 * v for v in normal(640)])
        (cls.home / "keep.json").write_text('{"type": "mask", "keep": 0.5}')
        cls.must("observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "data", cwd=cls.home)
        cls.configure(cls.home / "fit.json")
        cls.must("fit", "fit.json", "--out", "run", cwd=cls.home)

    @classmethod
    def configure(cls, path, **changes):
        config = {"observations": "data/y.npy", "operator": "data/operator.json", "sigma_y": 0.1,
                  "gaussian": {"rank": 2, "laps": 2}}
        config.update(changes)
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    @classmethod
    def command(cls, arguments):
        arguments = [str(a) for a in arguments]
        place = ["--backend", BACKEND] if arguments[0] in COMPUTES and "--help" not in arguments else []
        return [DIEM, *arguments, *place]

    @classmethod
    def run_program(cls, *arguments, cwd=None, timeout=180, **how):
        how.setdefault("stdout", subprocess.PIPE)
        return subprocess.run(cls.command(arguments), cwd=cwd, stderr=subprocess.PIPE, text=True, timeout=timeout, **how)

    @classmethod
    def must(cls, *arguments, cwd):
        done = cls.run_program(*arguments, cwd=cwd)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def setUp(self):
        self.folder = self.root / self.id().split(".")[-1]
        shutil.copytree(self.home, self.folder)

    def write(self, name, content):
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    def succeeds(self, *arguments, warns=None):
        done = self.run_program(*arguments, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        warnings = [line for line in done.stderr.splitlines() if line.startswith("diem: warning")]
        if warns is None:
            self.assertEqual(warnings, [])
        else:
            self.assertRegex("\n".join(warnings), warns)
        return done

    def fails(self, pattern, *arguments, code=1, lines=1):
        """Ends with `code`, one line that matches, and nothing in bad/."""
        done = self.run_program(*arguments, cwd=self.folder)
        said = [line for line in done.stderr.splitlines() if line.startswith("diem: ") and "warning" not in line]
        self.assertEqual(done.returncode, code, f"{arguments}: {done.returncode} {done.stderr}")
        self.assertEqual(len(said), lines, done.stderr)
        self.assertRegex(said[-1], pattern)
        self.assertFalse((self.folder / "bad").exists(), f"{arguments} wrote bad/")
        return done

    def interrupted(self, request, begun, *arguments, before=()):
        """Starts the program, waits until begun(), sends the signal, returns (status, stderr)."""
        command = self.command(arguments)
        if before:
            command = ["sh", "-c", before + ' exec "$0" "$@"', *command]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 30
            while not begun() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)
            self.assertIsNone(process.poll(), "ended before the signal")
            process.send_signal(request)
            said = process.communicate(timeout=30)[1]
        finally:
            process.kill()
        return process.returncode, said
