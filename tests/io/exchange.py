# SPDX-License-Identifier: Apache-2.0
"""exchange.py PROGRAM: files written by diem load with Python's safetensors and numpy, and the other way round.

Needs the packages safetensors and numpy. The first of these interpreters that has them is used: $DIEM_PYTHON,
build/python/bin/python3 (where `./run test` installs them), this one. Exit status 77 where none has them.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

NEEDED = "import numpy, safetensors.numpy"


def interpreter(needed=NEEDED):
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    for candidate in (os.environ.get("DIEM_PYTHON"), root / "build/python/bin/python3", sys.executable):
        if candidate and pathlib.Path(candidate).exists():
            if subprocess.run([candidate, "-c", needed], stderr=subprocess.DEVNULL).returncode == 0:
                return str(candidate)
    return None


def main(program):
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    kinds = {"BOOL": (np.bool_, (3,)), "U8": (np.uint8, (5,)), "I8": (np.int8, (1,)), "U16": (np.uint16, (3, 1)),
             "I16": (np.int16, (2,)), "U32": (np.uint32, (2, 2)), "I32": (np.int32, (0, 4)), "U64": (np.uint64, (2,)),
             "I64": (np.int64, ()), "F32": (np.float32, (2, 3, 4)), "F64": (np.float64, (7,))}
    config = {"a": [1, "\u00e9"]}

    def expected(kind, shape):
        k = np.arange(int(np.prod(shape)))
        return (k + 0.5 if kind in (np.float32, np.float64) else k % 2).astype(kind).reshape(shape)

    def same(got, name):
        want = expected(*kinds[name])
        assert got.dtype == want.dtype and got.shape == want.shape and np.array_equal(got, want), (name, got, want)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([program, "write", folder], check=True)
        got = load_file(folder / "cpp.safetensors")
        assert sorted(got) == sorted("t/" + name for name in kinds), sorted(got)
        for name in kinds:
            same(got["t/" + name], name)
            same(np.load(folder / f"cpp_{name}.npy"), name)
        with safe_open(folder / "cpp.safetensors", framework="numpy") as file:
            assert json.loads(file.metadata()["config"]) == config

        save_file({"t/" + name: expected(*kinds[name]) for name in kinds}, folder / "python.safetensors",
                  metadata={"config": json.dumps(config, ensure_ascii=False)})
        for name in kinds:
            np.save(folder / f"python_{name}.npy", expected(*kinds[name]))
        real = expected(np.float64, (2, 3, 4))
        pairs = expected(np.float64, (3, 4, 2))
        complex_numbers = pairs[..., 0] + 1j * pairs[..., 1]
        for name, values, kinds_written in (("real", real, "<f2 >f2 <f4 >f4 <f8 >f8"), ("complex", complex_numbers, "<c8 >c8 <c16 >c16")):
            for descr in kinds_written.split():
                for order in "CF":
                    np.save(folder / f"{name}_{order}_{descr[1:]}{'be' if descr[0] == '>' else 'le'}.npy",
                            np.asarray(values.astype(descr), order=order))
        subprocess.run([program, "check", folder], check=True)
    print(f"{len(kinds)} element types exchanged both ways, safetensors and npy")


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        main(sys.argv[2])
    else:
        python = interpreter()
        if python is None:
            print("SKIPPED: no Python with the packages safetensors and numpy; set DIEM_PYTHON to one that has them")
            sys.exit(77)
        sys.exit(subprocess.run([python, __file__, "--inside", sys.argv[1]]).returncode)
