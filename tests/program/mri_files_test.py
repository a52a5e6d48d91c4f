# SPDX-License-Identifier: Apache-2.0
"""A scanner's files in the program: ISMRMRD raw data with a noise scan, readout oversampling and lines for calibration, and files in
the layout of fastMRI, through diem mri info, whiten, maps, fit and posterior. Raw data are skipped, and said so, without the Python
package ismrmrd; without numpy and h5py the exit status is 77. Interpreters as in tests/io/exchange.py."""

import json
import re
import subprocess
import sys
import unittest

import packages

packages.needs("numpy, h5py, ismrmrd", "numpy, h5py")

import h5py
import numpy as np

from support import DIEM, ROOT, Case, tool

if "HDF5" not in subprocess.run([DIEM, "convert", "--help"], check=True, capture_output=True, text=True).stdout:
    print("SKIPPED: diem was built without HDF5")
    sys.exit(77)
try:
    import ismrmrd
except ImportError:
    print("SKIPPED: no Python package ismrmrd: of raw data nothing is tried")
    ismrmrd = None

H, W, COILS, SLICES, CALIBRATION = 24, 32, 4, 6, 16
SIGMA = 0.01  # of k-space in files of fastMRI
MRI = {"type": "mri", "coils": "maps.npy"}


def pictures():
    """(slices, H, W): a body with two parts inside, other ones in each."""
    y, x = np.meshgrid(np.linspace(-1, 1, H), np.linspace(-1, 1, W), indexing="ij")

    def disk(a, b, r):
        return 1 / (1 + np.exp(((y - a) ** 2 + (x - b) ** 2 - r * r) * 12))
    return np.stack([disk(0, 0, 0.75) + 0.6 * disk(0.3 - 0.1 * i, 0.3, 0.25) - 0.5 * disk(-0.3, 0.3 - 0.1 * i, 0.2)
                     for i in range(SLICES)])


def ifft2(k):
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=axes), norm="ortho"), axes=axes)


def cropped(k, fft2):
    """Without readout oversampling: the inner half of the image."""
    rows = k.shape[-2]
    top = rows // 2 - rows // 4
    return fft2(ifft2(k)[..., top:top + rows // 2, :])


class Files(Case):
    def said(self, *arguments):
        return json.loads(self.succeeds(*arguments, "--json").stdout)

    def near(self, got, want, tolerance):
        self.assertEqual(got.shape, want.shape)
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        self.assertLessEqual(error, tolerance)

    def fits(self, files, operator, sigma_y):
        self.configure(self.folder / "fit.json", observations=files, operator=operator, sigma_y=sigma_y, image=[H, W, 2],
                       scale="auto")
        self.succeeds("fit", "fit.json", "--out", "run", warns="of the pixels of x were never seen")  # outside the body

    def restores(self, truth, kspace, operator, sigma_y):
        """Magnitudes of posterior means under the prior that was fitted are near the truth."""
        self.write("mri.json", operator)
        done = self.said("posterior", "run/prior.safetensors", kspace, "--operator", "mri.json", "--sigma-y", sigma_y,
                         "--steps", "16", "--samples", "2", "--scale", "auto", "--formats", "npy,hdf5", "--out", "restored")
        self.assertEqual(done["shape"], [SLICES, 2, H, W])
        with h5py.File(self.folder / "restored/reconstruction.h5") as f:
            magnitude = f["reconstruction"][()]
        self.near(magnitude, np.load(self.folder / "restored/mean_magnitude.npy"), 1e-6)
        body = pictures() > 0.5  # outside no coil sees anything: there the prior is a guess
        self.near(magnitude[body], truth[body], 0.1)


@unittest.skipIf(ismrmrd is None, "no Python package ismrmrd")
class Ismrmrd(Files):
    """Coils with correlated noise; every second line is the image's, those in the centre are for calibration, too."""

    @classmethod
    def make_shared(cls):
        make = tool("make_fastmri")
        cls.fft2 = staticmethod(make.fft2)
        random = np.random.default_rng(5)
        mix = random.normal(size=(COILS, COILS)) + 1j * random.normal(size=(COILS, COILS)) + 3 * np.eye(COILS)

        def noise(count):
            return mix @ (random.normal(size=(COILS, count)) + 1j * random.normal(size=(COILS, count))) * np.sqrt(0.5)
        cls.maps = make.sensitivities(COILS, H, W)
        cls.truth = 400 * pictures()
        body = np.zeros((SLICES, COILS, 2 * H, W), complex)
        body[:, :, H // 2:H // 2 + H] = cls.maps * cls.truth[:, None]
        cls.scan = noise(4000).astype("c8")
        kspace = make.fft2(body)
        data = ismrmrd.Dataset(str(cls.home / "raw.h5"), "dataset", True)
        data.write_xml_header(make.header(H, W, W, 0, W).encode())

        def add(samples, flag=None, **counters):
            a = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples.astype("c8")))
            a.center_sample = samples.shape[1] // 2
            for name, value in counters.items():
                setattr(a.idx, name, value)
            if flag is not None:
                a.setFlag(flag)
            data.append_acquisition(a)
        add(cls.scan, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        cls.image, cls.calibration = np.zeros_like(kspace), np.zeros_like(kspace)
        for i in range(SLICES):
            for target, lines, flag in (
                    (cls.image, range(0, W, 2), None),
                    (cls.calibration, range((W - CALIBRATION) // 2, (W + CALIBRATION) // 2),
                     ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)):
                for line in lines:
                    target[i, :, :, line] = kspace[i, :, :, line] + noise(2 * H)
                    add(target[i, :, :, line], flag, kspace_encode_step_1=line, slice=i)
        data.close()
        psi = cls.scan @ cls.scan.conj().T / (cls.scan.shape[1] - 1)
        cls.whitener = np.linalg.inv(np.linalg.cholesky(psi))
        cls.sigma = np.sqrt(np.trace(psi).real / COILS / 2)

    def white(self, k):
        return np.einsum("dc,scyx->sdyx", self.whitener, cropped(k, self.fft2))

    def test_info(self):
        said = self.said("mri", "info", "raw.h5")
        self.assertEqual([said[k] for k in ("format", "slices", "coils", "height", "width", "calibration", "measured_share")],
                         ["ISMRMRD", SLICES, COILS, H, W, CALIBRATION, 0.5])
        self.assertEqual(said["noise"], "the file's noise scan")
        self.assertAlmostEqual(said["sigma_y"] / self.sigma, 1, places=5)
        self.assertIn(f"{SLICES * CALIBRATION} lines for calibration alone", said["notes"])

    def test_whitened_with_its_lines_for_calibration(self):
        said = self.said("mri", "whiten", "raw.h5", "--out", "white.npy")
        self.assertEqual([said["noise"], said["calibration_out"]], ["the file's noise scan", "white_calibration.npy"])
        self.assertAlmostEqual(said["sigma_before"] / self.sigma, 1, places=5)
        for name, k in (("white", self.image), ("white_calibration", self.calibration)):
            got = np.load(self.folder / f"{name}.npy")
            self.near(got, self.white(k), 1e-5)
            hidden = np.all(k == 0, axis=(0, 1, 2))
            self.assertTrue(np.all(got[..., hidden] == 0))
        # What the commands say of each.
        self.fails("white.npy: slice 0: the measured square in the centre of k-space is 1 wide",
                   "mri", "maps", "white.npy", "--out", "bad.npy")
        self.assertFalse((self.folder / "bad.npy").exists())
        self.assertEqual(self.said("mri", "info", "white_calibration.npy")["calibration"], CALIBRATION)
        self.fails("white_calibration.npy would be written, and is what --noise reads",
                   "mri", "whiten", "raw.h5", "--noise", "white_calibration.npy", "--out", "white.npy")

    def test_maps_of_whitened_lines_for_calibration(self):
        said = self.said("mri", "maps", "raw.h5", "--whiten", "--out", "maps.npy")
        self.assertEqual([said["calibration"], said["noise"]], [CALIBRATION, "the file's noise scan"])
        maps = np.load(self.folder / "maps.npy")
        self.must("mri", "whiten", "raw.h5", "--out", "white.npy", cwd=self.folder)
        self.must("mri", "maps", "white_calibration.npy", "--out", "same.npy", cwd=self.folder)
        self.near(maps, np.load(self.folder / "same.npy"), 1e-6)
        # Those that the whitened coils have, up to a phase, where there is a body; not those of the coils as they are.
        for matrix, least in ((self.whitener, 0.99), (np.eye(COILS), 0)):
            want = np.einsum("dc,cyx->dyx", matrix, self.maps)
            want /= np.linalg.norm(want, axis=0)
            alike = np.abs((maps.conj() * want).sum(1))[pictures() > 0.5].min()
            (self.assertGreaterEqual if least else self.assertLessEqual)(alike, least or 0.95)
        self.assertNotIn("noise", self.said("mri", "maps", "raw.h5", "--out", "raw.npy"))
        self.fails("--noise requires --whiten", "mri", "maps", "raw.h5", "--noise", "n.npy", "--out", "bad.npy", code=2)

    def test_fit_and_posterior(self):
        """Of the scanner's file itself."""
        self.must("mri", "maps", "raw.h5", "--out", "maps.npy", cwd=self.folder)
        self.fits("raw.h5", MRI, float(self.sigma))
        self.restores(self.truth, "raw.h5", MRI, str(self.sigma))


class FastMri(Files):
    @classmethod
    def make_shared(cls):
        np.save(cls.home / "slices.npy", pictures())
        for name, more in (("accelerated", ("--acceleration", "2", "--partial", "1")), ("whole", ("--full", "--partial", "0"))):
            subprocess.run([sys.executable, ROOT / "tools/make_fastmri", "slices.npy", f"{name}.h5", "--coils", str(COILS),
                            "--sigma", str(SIGMA), *more], cwd=cls.home, check=True, stdout=subprocess.DEVNULL)

    def test_info(self):
        said = self.said("mri", "info", "accelerated.h5")
        self.assertEqual([said[k] for k in ("format", "slices", "coils", "height", "width", "columns")],
                         ["fastMRI", SLICES, COILS, 2 * H, W, True])
        with h5py.File(self.folder / "accelerated.h5") as f:
            largest = f.attrs["max"]
        notes = said["notes"]
        for note in ("acquisition AXT2", "acceleration 2, as the file says", f"columns outside 1 .. {W - 2} are zero fill"):
            self.assertIn(note, notes)
        (of_max,) = [note for note in notes if note.startswith("max ")]
        self.assertEqual(float(of_max.removeprefix("max ").split(",")[0]), largest)
        shown = self.succeeds("mri", "info", "accelerated.h5").stdout
        for note in notes:
            self.assertRegex(shown, f"(?m)^note +{re.escape(note)}$")
        self.assertFalse([note for note in self.said("mri", "info", "whole.h5")["notes"] if "acceleration" in note])

    def test_whiten(self):
        said = self.said("mri", "whiten", "whole.h5", "--out", "white.npy")
        self.assertIn("corners", said["noise"])
        self.assertNotIn("calibration_out", said)
        self.assertFalse((self.folder / "white_calibration.npy").exists())
        white = np.load(self.folder / "white.npy")
        with h5py.File(self.folder / "whole.h5") as f:
            self.assertEqual(white.shape, f["kspace"].shape)

    def test_maps_fit_and_posterior(self):
        """Of the oversampled readout the inner half is the image."""
        self.must("mri", "maps", "whole.h5", "--out", "maps.npy", cwd=self.folder)
        operator = {**MRI, "size": [H, W], "fit": "crop"}
        self.fits(["whole.h5", "accelerated.h5"], operator, SIGMA)
        self.restores(pictures() / pictures().max((1, 2), keepdims=True), "accelerated.h5", operator, str(SIGMA))


if __name__ == "__main__":
    unittest.main()
