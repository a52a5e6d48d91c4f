# SPDX-License-Identifier: Apache-2.0
"""seeds.py: writes the first inputs of each fuzz target under corpus/, the smallest files of every kind. Standard library
alone, so that it runs anywhere; what a fuzzer finds later is stored beside them."""
import json
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).resolve().parent / "corpus"


def put(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def npy(descr, order, shape, data, version=1):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n" + data


def safetensors(tensors, metadata=None, data=b""):
    header = {} if metadata is None else {"__metadata__": metadata}
    for name, dtype, shape, first, last in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


put("npy", "f4", npy("'<f4'", "False", "(2, 3)", bytes(24)))
put("npy", "fortran", npy("'>f8'", "True", "(2, 1, 2)", bytes(32), 2))
put("npy", "python2", npy("u'|b1'", "False", "(3L,)", bytes(3)))
put("npy", "numpy2", npy("'<i4'", "np.False_", "(np.int64(1), 2)", bytes(8), 3))
put("npy", "complex", npy("'<c8'", "False", "(2,)", bytes(16)))
put("npy", "half", npy("'<f2'", "False", "()", bytes(2)))
put("npy", "lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")

put("safetensors", "two", safetensors([("a", "F32", [2], 0, 8), ("b", "BF16", [1], 8, 10)], {"k": "v"}, bytes(10)))
put("safetensors", "skipped", safetensors([("a", "F4", [2], 0, 1), ("b", "C64", [1], 1, 9)], None, bytes(9)))
put("safetensors", "hash", safetensors([("a", "U8", [0], 0, 0)], {"diem.xxh64": '{"a":"U8:ef46db3751d8e999"}'}))
put("safetensors", "null", struct.pack("<Q", 21) + b'{"__metadata__":null}')

put("cfl", "plain", b"# Dimensions\n2 1 1\n\0" + bytes(16))
put("cfl", "sections", b"# Creator\nx\n# Dimensions\n1 1 2 1 1 1 1 1 1 1 1 1 1 1 1 1 \n# Command\nfft 7\n\0" + bytes(16))

training = {"kind": "training", "training": {"step": 1, "seed": 2, "recent_loss": None}}
about = {"format": "diem", "version": "1", "config": "{}", "state": json.dumps(training)}
tensors = [(f"{part}/w", "F32", [2, 2], 16 * k, 16 * k + 16) for k, part in enumerate(("param", "ema", "adam_m", "adam_v"))]
put("checkpoint", "training", safetensors(tensors, about, bytes(64)))
put("checkpoint", "prior", safetensors([("mean", "F32", [1, 2], 0, 8)], about | {
    "state": json.dumps({"kind": "diffusion_prior", "laps": 3, "features": 2})}, bytes(8)))

batches = [{"first": k, "count": 1, "residual": 1.5, "non_finite": 0, "statuses": [0, 1, 0, 0, 0], "seconds": 0.1} for k in (0, 2)]
put("checkpoint", "samples", safetensors([("samples/0", "F32", [1, 2], 0, 8), ("samples/2", "F32", [1, 2], 8, 16)], about | {
    "state": json.dumps({"kind": "lap_samples", "run": {"lap": 0}, "batches": batches})}, bytes(16)))

put("json", "all", '{"n": 3, "x": 1e-3, "s": "a", "list": [1, 2], "flags": {"f": true}, "inner": {"n": 1}} // end')
put("json", "text", '{"s": "\\u00e9\\ud83d\\ude00 \\" \\\\", "list": null, "x": -0.0E+1}')
put("json", "wrong", '{"a": 1, "a": [2, [3, {"b": 4}]]}')

put("network_config", "mlp", '{"type": "mlp", "features": 16, "hidden": [64, 64], "emb": 16}')
put("network_config", "unet", json.dumps({
    "type": "unet", "shape": [8, 8, 1], "hid_channels": [16, 32], "hid_blocks": [1, 1],
    "heads": {"1": 2}, "emb": 32}))

put("cifar", "one", bytes([3]) + bytes(3072))
put("cifar", "label", bytes([10]) + bytes(3072))

limits = "<minimum>0</minimum><maximum>7</maximum><center>4</center>"
size = "<matrixSize><x>4</x><y>8</y><z>1</z></matrixSize>"
put("ismrmrd_header", "header", '<?xml version="1.0"?><!-- c --><i:h xmlns:i="x"><encoding>'
    f"<encodedSpace>{size}</encodedSpace><reconSpace>{size}</reconSpace><encodingLimits><kspace_encoding_step_1>"
    f"{limits}</kspace_encoding_step_1></encodingLimits></encoding></i:h>")


def line(step, coils=2, samples=8, flag=0, slice=0):
    return bytes([samples, coils, 0, 0, samples // 2, 0, step, 0, slice, 0, flag, 0, 0, 0, 0, 0])


frame = bytes([8, 6, 1, 4, 1, 3, 0, 0])
put("kspace", "lines", frame + line(0) + line(1, flag=18) + line(2, flag=19) + line(3, flag=21) + line(4, slice=1))
put("kspace", "noise", frame + line(0, samples=5, flag=18) + line(2) + line(3, flag=20))
put("ismrmrd_header", "odd", "<a><![CDATA[<b>]]><b/></a>")


def png(width, height, bits, colour, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


put("png", "grey8", png(3, 2, 8, 0, bytes([0, 1, 2, 3, 1, 4, 5, 6])))
put("png", "grey16", png(1, 2, 16, 0, bytes([2, 1, 0, 3, 2, 0])))
put("png", "rgb", png(2, 1, 8, 2, bytes([4, 1, 2, 3, 4, 5, 6])))
put("png", "bits", png(9, 2, 1, 0, bytes([0, 170, 128, 0, 85, 0])))
put("png", "rgba", png(1, 1, 16, 6, bytes(9)))
