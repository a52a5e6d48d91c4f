# SPDX-License-Identifier: Apache-2.0
"""formats_exchange.py PROGRAM: files of h5py, ismrmrd, astropy, tifffile and BART read by diem, and diem's by them.

Each part whose Python package or program is missing is skipped, and said so. Interpreters as in exchange.py. Exit status
77 where nothing could be tried.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from exchange import interpreter

tried, skipped = [], []
HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>6</x><y>10</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>3</x><y>3</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>6</maximum><center>4</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def part(module_or_program, formats, wanted):
    """Decorator: runs the function where both sides are there."""
    def run(function):
        name = module_or_program
        if wanted not in formats:
            skipped.append(f"{name} (diem was built without {wanted})")
            return function
        try:
            if not shutil.which(name):
                __import__(name)
        except ImportError:
            skipped.append(f"{name} (not installed)")
            return function
        function()
        tried.append(name)
        return function
    return run


def main(program):
    import numpy as np
    random = np.random.default_rng(1)
    real = random.normal(size=(3, 4, 5)).astype("f4")
    complex_numbers = (random.normal(size=(2, 3, 4)) + 1j * random.normal(size=(2, 3, 4))).astype("c8")

    def call(*arguments, cwd=None):
        return subprocess.run([str(a) for a in arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout

    def same(got, want, what):
        assert got.shape == want.shape and np.array_equal(got, want), (what, got.shape, want.shape)

    formats = call(program, "formats")
    folder_object = tempfile.TemporaryDirectory()
    folder = pathlib.Path(folder_object.name)
    np.save(folder / "real.npy", real)
    np.save(folder / "complex.npy", complex_numbers)

    def to_npy(source, want):
        call(program, "copy", source, folder / "out.npy")
        same(np.load(folder / "out.npy"), want.astype("c8" if np.iscomplexobj(want) else "f4"), source)

    @part("h5py", formats, "HDF5")
    def hdf5():
        import h5py
        path = folder / "a.h5"
        cases = {"plain": real, "wide": real.astype(">f8"), "integers": np.arange(12, dtype="<i2").reshape(3, 4),
                 "flags": np.array([True, False, True]), "complex": complex_numbers, "c16": complex_numbers.astype("c16")}
        with h5py.File(path, "w") as f:
            for name, values in cases.items():
                f[name] = values
            f.create_dataset("packed", data=real, chunks=(1, 2, 3), compression="gzip", shuffle=True, fletcher32=True)
            f["group/inner"] = real
            f["text"] = "words"
        for name, values in {**cases, "packed": real, "group/inner": real}.items():
            to_npy(f"{path}::{name}", values)
        for kind in ("real", "complex"):
            call(program, "copy", folder / f"{kind}.npy", f"{folder}/b.h5::z")
            with h5py.File(folder / "b.h5") as f:
                same(f["z"][()], np.load(folder / f"{kind}.npy"), kind)
            # MATLAB's own layout: extents reversed, halves named real and imag, a class, 512 bytes before the signature.
            call(program, "copy", folder / f"{kind}.npy", f"{folder}/c.mat::z")
            assert (folder / "c.mat").read_bytes()[:19] == b"MATLAB 7.3 MAT-file"
            with h5py.File(folder / "c.mat") as f:
                stored = f["z"][()]
                if kind == "complex":
                    stored = stored["real"] + 1j * stored["imag"]
                same(stored, np.load(folder / f"{kind}.npy").T, kind)
                assert f["z"].attrs["MATLAB_class"] == b"single"
            to_npy(folder / "c.mat", np.load(folder / f"{kind}.npy"))

    @part("h5py", formats, "HDF5")
    def fastmri():
        import h5py
        for coils in (None, 3):
            shape = (2, 6, 9) if coils is None else (2, coils, 6, 9)
            kspace = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype("c8")
            mask = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1], dtype="f4")
            images = random.normal(size=(2, 3, 3)).astype("f4")
            with h5py.File(folder / "v.h5", "w") as f:
                f.create_dataset("kspace", data=kspace, chunks=(2 if coils else 1,) + shape[1:], compression="gzip")
                f["ismrmrd_header"] = HEADER
                f["mask"] = mask.astype(bool) if coils else mask
                f["reconstruction_rss" if coils else "reconstruction_esc"] = images
                f.attrs["acquisition"] = "AXT2"
                f.attrs["acceleration"] = 4
                f.attrs["max"] = 0.5
            words = call(program, "fastmri", folder / "v.h5", folder / "out").split()
            # centre 5 of 10 encoded columns less the centre 4 of the limits; 7 lines were measured
            assert words == ["2", str(coils or 1), "6", "9", "1", "8", "4", "0.5", "3", "AXT2",
                             "reconstruction_rss" if coils else "reconstruction_esc"], words
            measured = mask.copy()
            measured[:1] = 0
            measured[8:] = 0
            same(np.load(folder / "out.npy"), (kspace * measured).reshape(2, coils or 1, 6, 9), "k-space")
            with h5py.File(folder / "out.h5") as f:
                same(f["reconstruction"][()], images, "reconstruction")

    def refused(words, path):
        done = subprocess.run([program, "kspace", path, folder / "r"], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        assert str(path) in done.stderr, done.stderr

    @part("h5py", formats, "HDF5")
    def made_fastmri():
        import h5py
        np.save(folder / "slices.npy", random.uniform(0, 255, size=(3, 16, 20)).astype("u1"))
        tool = pathlib.Path(__file__).resolve().parents[2] / "tools" / "make_fastmri"
        for more, coils in ((["--coils", "4"], 4), (["--single"], 1)):
            call(sys.executable, tool, folder / "slices.npy", folder / "made.h5", "--count", 2, "--first", 1,
                 "--partial", 2, *more)
            assert call(program, "kspace", folder / "made.h5", folder / "f").split() == ["fastMRI", "0"]
            with h5py.File(folder / "made.h5") as f:
                same(np.load(folder / "f_kspace.npy"), f["kspace"][()].reshape(2, coils, 32, 20), "made")
                assert f["kspace"].chunks[0] == 1 and f["kspace"].compression == "gzip"
                measured = f["mask"][()] & (np.arange(20) >= 2) & (np.arange(20) < 17)
            same(np.load(folder / "f_mask.npy"), measured.astype("u1").reshape(1, 1, 20), "mask")
        # Of every column the image comes back: readout cropped, noise aside.
        call(sys.executable, tool, folder / "slices.npy", folder / "made.h5", "--count", 1, "--partial", 0, "--full",
             "--sigma", 0.001)
        call(program, "kspace", folder / "made.h5", folder / "f")
        k = np.load(folder / "f_kspace.npy")[0]
        images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=(1, 2)), norm="ortho"), axes=(1, 2))
        with h5py.File(folder / "made.h5") as f:
            error = np.sqrt((np.abs(images[:, 8:24]) ** 2).sum(0)) - f["reconstruction_rss"][0]
        assert np.abs(error).max() <= 0.02, np.abs(error).max()
        with h5py.File(folder / "bad.h5", "w") as f:
            f["kspace"] = np.zeros((2, 3, 4), "f4")
        refused('"kspace": has shape [2, 3, 4] of real numbers', folder / "bad.h5")

    @part("ismrmrd", formats, "HDF5")
    def raw_data():
        import ismrmrd
        coils, x, y = 3, 12, 8
        lines = (random.normal(size=(2, y, coils, x)) + 1j * random.normal(size=(2, y, coils, x))).astype("c8")
        scan = (random.normal(size=(coils, 20)) + 1j * random.normal(size=(coils, 20))).astype("c8")
        text = HEADER.replace("<x>6</x><y>10</y>", f"<x>{x}</x><y>{y}</y>").replace("<x>3</x>", "<x>6</x>").replace(
            "<maximum>6</maximum><center>4</center>", f"<maximum>{y - 1}</maximum><center>{y // 2}</center>")

        def write(path, header=text, change=lambda acquisition, line: None, steps=(0, 3, 4, 7)):
            path.unlink(missing_ok=True)
            data = ismrmrd.Dataset(str(path), "dataset", True)
            data.write_xml_header(header.encode())
            noise = ismrmrd.Acquisition.from_array(scan)
            noise.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            data.append_acquisition(noise)
            for i in range(2):
                for step in steps:
                    samples = lines[i, step]
                    if step == 3:
                        samples = samples[:, ::-1]
                    a = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples))
                    a.idx.kspace_encode_step_1 = step
                    a.idx.slice = i
                    a.center_sample = x // 2
                    if step == 3:
                        a.setFlag(ismrmrd.ACQ_IS_REVERSE)
                    change(a, step)
                    data.append_acquisition(a)
            data.close()

        raw = folder / "raw.h5"
        write(raw)
        assert call(program, "kspace", raw, folder / "i").split() == ["ISMRMRD", "6"]
        want = np.zeros((2, coils, x, y), "c8")
        for step in (0, 3, 4, 7):
            want[..., step] = lines[:, step]
        same(np.load(folder / "i_kspace.npy"), want, "raw data")
        same(np.load(folder / "i_noise.npy"), scan, "noise scan")
        same(np.load(folder / "i_mask.npy")[0, 0], np.isin(np.arange(y), (0, 3, 4, 7)).astype("u1"), "lines")
        write(raw, change=lambda a, step: a.setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) if step == 4 else None)
        call(program, "kspace", raw, folder / "i")
        same(np.load(folder / "i_calibration.npy")[..., 4], lines[:, 4], "calibration")
        assert np.load(folder / "i_mask.npy")[0, 0, 4] == 0
        write(raw, header=text.replace("<encodingLimits>", "<trajectory>spiral</trajectory><encodingLimits>"))
        refused('the trajectory is "spiral"', raw)
        write(raw, change=lambda a, step: a.setFlag(ismrmrd.ACQ_IS_PHASECORR_DATA))
        refused("echo-planar", raw)
        write(raw, steps=(0, 0))
        refused("measured twice", raw)
        write(raw)
        raw.write_bytes(raw.read_bytes()[:-4000])
        refused("raw.h5", raw)

    @part("astropy", formats, "FITS")
    def fits():
        from astropy.io import fits as astropy_fits
        for name, values in {"f4": real, "f8": real.astype("f8"), "i2": np.arange(12, dtype="i2").reshape(3, 4),
                             "u2": np.arange(60000, 60012, dtype="u2").reshape(3, 4)}.items():
            astropy_fits.PrimaryHDU(values).writeto(folder / f"{name}.fits")
            to_npy(folder / f"{name}.fits", values)
        two = astropy_fits.HDUList([astropy_fits.PrimaryHDU(), astropy_fits.ImageHDU(real)])
        two.writeto(folder / "two.fits")
        to_npy(folder / "two.fits", real)
        packed = astropy_fits.CompImageHDU(np.arange(400, dtype="i2").reshape(20, 20), compression_type="RICE_1")
        astropy_fits.HDUList([astropy_fits.PrimaryHDU(), packed]).writeto(folder / "packed.fits")
        refused = subprocess.run([program, "copy", folder / "packed.fits", folder / "out.npy"], stderr=subprocess.PIPE,
                                 text=True)
        assert refused.returncode == 1 and "funpack" in refused.stderr, refused.stderr
        call(program, "copy", folder / "real.npy", folder / "out.fits")
        same(astropy_fits.getdata(folder / "out.fits").astype("f4"), real, "FITS")

    @part("tifffile", formats, "TIFF")
    def tiff():
        import tifffile
        for name, values in {"f4": real, "u1": np.arange(24, dtype="u1").reshape(2, 3, 4), "f2": real.astype("f2"),
                             "u2": np.arange(24, dtype="u2").reshape(2, 3, 4), "f8": real.astype("f8")}.items():
            for order in "<>":
                tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", byteorder=order)
                to_npy(folder / "a.tif", values)
        colours = np.arange(72, dtype="u1").reshape(2, 3, 4, 3)
        tifffile.imwrite(folder / "b.tif", colours, photometric="rgb")
        to_npy(folder / "b.tif", colours)
        tifffile.imwrite(folder / "c.tif", real, photometric="minisblack", bigtiff=True, compression="zlib")
        to_npy(folder / "c.tif", real)
        call(program, "copy", folder / "real.npy", folder / "out.tif")
        same(tifffile.imread(folder / "out.tif"), real, "TIFF")

    @part("bart", formats, "cfl")
    def bart():
        # BART's phantom of 3 coils, its transform by BART, read here; then back to BART, which finds no difference.
        call("bart", "phantom", "-k", "-s", "3", "-x", "16", folder / "k")
        call(program, "copy", folder / "k.cfl", folder / "k.npy")
        k = np.load(folder / "k.npy")
        assert k.shape == (3, 1, 16, 16) and k.dtype == np.complex64, (k.shape, k.dtype)
        call(program, "copy", folder / "k.npy", folder / "back.cfl")
        assert float(call("bart", "nrmse", folder / "k", folder / "back").split()[-1]) == 0
        # BART's image of its k-space is the orthonormal transform of ours: READ is the height.
        call(program, "kspace", folder / "k.cfl", folder / "bart")
        kspace = np.load(folder / "bart_kspace.npy")
        same(kspace, k.transpose(1, 0, 3, 2), "READ is the height")
        call("bart", "fft", "-u", "-i", "3", folder / "k", folder / "image")
        call(program, "copy", folder / "image.cfl", folder / "image.npy")
        ours = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(2, 3)), norm="ortho"), axes=(2, 3))
        theirs = np.load(folder / "image.npy").transpose(1, 0, 3, 2)
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
        # One value marked along READ (dimension 0) of BART is on the last axis here.
        call("bart", "ones", "2", "4", "3", folder / "ones")
        call("bart", "resize", "0", "8", folder / "ones", folder / "wide")
        call(program, "copy", folder / "wide.hdr", folder / "wide.npy")
        wide = np.load(folder / "wide.npy")
        assert wide.shape == (3, 8) and np.array_equal(wide[0] != 0, np.arange(8) < 4), wide

    folder_object.cleanup()
    for what in skipped:
        print(f"SKIPPED: {what}")
    print("exchanged both ways with: " + (", ".join(dict.fromkeys(tried)) or "nothing"))
    return 0 if tried else 77


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(main(sys.argv[2]))
    python = interpreter()
    if python is None:
        print("SKIPPED: no Python with the packages safetensors and numpy; set DIEM_PYTHON to one that has them")
        sys.exit(77)
    sys.exit(subprocess.run([python, __file__, "--inside", os.path.abspath(sys.argv[1])]).returncode)
