# SPDX-License-Identifier: Apache-2.0
"""`mpirun -n N diem fit` and `posterior` give what one process gives, to the bit; tools/soak kills."""

import json
import math
import os
import pathlib
import signal
import subprocess
import time

import support
from support import Case, content, load

MPIEXEC = os.environ["MPIEXEC"]
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_base_warn_component_unused="0")
UNET = {"type": "unet", "shape": [4, 4, 1], "hid_channels": [4, 8], "hid_blocks": [1, 1], "emb": 8}
EM = {"laps": 2, "sampler": {"steps": 6, "batch": 7, "samples_per_observation": 2},
      "training": {"steps": 60, "batch": 10, "parts": 3}}


class Ranks(Case):
    def start(self, ranks, *arguments, more=()):
        command = [MPIEXEC, "-n", ranks, *self.command((*arguments, "--threads", "1"))]
        if more:
            command += [":", "-n", 1, *self.command((*more, "--threads", "1"))]
        return subprocess.Popen([str(c) for c in command], cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def on(self, ranks, *arguments, more=()):
        process = self.start(ranks, *arguments, more=more)
        try:
            out, said = process.communicate(timeout=100)
        finally:
            process.kill()
        return process.returncode, out, said

    def succeeds_on(self, ranks, *arguments):
        code, out, said = self.on(ranks, *arguments)
        self.assertEqual(code, 0, said)
        return out

    def same(self, run, other):
        for name in ("gaussian.safetensors", "prior.safetensors", "checkpoint/prior_0.safetensors"):
            self.assertEqual(content(self.folder / run / name), content(self.folder / other / name), (name, other))
        self.assertEqual(list((self.folder / other).glob("**/*.tmp-*")), [])

    def test_numbers_of_ranks(self):
        self.configure(self.folder / "net.json", network=UNET, em=EM)
        self.succeeds("fit", "net.json", "--out", "alone", "--threads", "1")
        for ranks in (1, 2, 3, 4):
            self.succeeds_on(ranks, "fit", "net.json", "--out", f"of{ranks}")
            self.same("alone", f"of{ranks}")
        self.configure(self.folder / "short.json", network=UNET, em={**EM, "laps": 1})
        self.succeeds_on(2, "fit", "short.json", "--out", "grown")
        self.succeeds_on(3, "fit", "net.json", "--out", "grown", "--resume")
        self.same("alone", "grown")
        report = json.loads((self.folder / "of3/report.json").read_text())
        self.assertEqual((report["ranks"], report["status"]), (3, "completed"))
        # The same posterior samples, and one folder of results.
        posterior = ("posterior", "alone/prior.safetensors", "data/y.npy", "--operator",
                                    "data/operator.json", "--sigma-y", "0.1", "--samples", "3", "--steps", "5", "--batch", "7")
        self.run_program(*posterior, "--out", "p1", "--threads", "1", cwd=self.folder)
        self.on(3, *posterior, "--out", "p3")
        exact = ("posterior", "run/prior.safetensors", *posterior[2:-2])
        self.run_program(*exact, "--out", "e1", "--threads", "1", cwd=self.folder)
        self.on(2, *exact, "--out", "e3")
        for kind in ("p", "e"):
            for name in ("samples", "mean", "std"):
                self.assertEqual(load(self.folder / f"{kind}1/{name}.npy"), load(self.folder / f"{kind}3/{name}.npy"))

    def test_killed_while_samples_are_drawn(self):
        """What the ranks had written is not drawn again, on other numbers of them, and goes with the lap."""
        em = {**EM, "laps": 1, "initial_e_step": "diffusion", "sampler": {"steps": 60, "batch": 4, "samples_per_observation": 2}}
        self.configure(self.folder / "net.json", network=UNET, em=em)
        self.succeeds("fit", "net.json", "--out", "alone", "--threads", "1")
        samples = lambda: set((self.folder / "run3/checkpoint").glob("samples_0_*.safetensors"))
        process = self.start(3, "fit", "net.json", "--out", "run3", "--save-every", "0")
        try:
            while len(samples()) < 4 and process.poll() is None:
                time.sleep(0.01)
            self.kill_rank(process, 1)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(said, "rank 1 .*signal 9")
        there = samples()
        self.assertGreaterEqual(len(there), 4)
        facts = json.loads(self.must("info", min(there), "--json", cwd=self.folder).stdout)
        self.assertEqual((facts["kind"], facts["run"]["lap"], facts["run"]["samples"]), ("lap_samples", 0, 4))
        self.succeeds_on(2, "fit", "net.json", "--out", "run3", "--resume")
        self.same("alone", "run3")
        self.assertEqual(samples(), set())

    def kill_rank(self, process, rank):
        """One of mpirun's processes."""
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == process.pid and f"OMPI_COMM_WORLD_RANK={rank}".encode() in (
                        folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
            except OSError:  # it has ended
                pass

    def test_evaluate(self):
        count, each, size = 300, 3, (7, 8)  # more than one block of items
        truth = support.normal(count * math.prod(size))
        support.save(self.folder / "t.npy", [count, *size], truth)
        noise = support.normal(each * len(truth), seed=1)
        support.save(self.folder / "s.npy", [count, each, *size],  # some equal to the truth: ties of ranks
                     [v if k % 5 == 0 else v + 0.5 * noise[k] for k, v in enumerate(
                         truth[i * math.prod(size) + j] for i in range(count) for _ in range(each)
                         for j in range(math.prod(size)))])
        evaluate = ("evaluate", "s.npy", "t.npy", "--coverage", "--json")
        self.succeeds(*evaluate, "alone.json", "--threads", "1")
        self.succeeds_on(2, *evaluate, "of2.json")
        self.succeeds_on(3, *evaluate, "of3.json")
        figures = [json.loads((self.folder / name).read_text()) for name in ("alone.json", "of2.json", "of3.json")]
        self.assertTrue({"psnr_mean_db", "ssim_mean", "coverage_80", "frechet"} <= set(figures[0]), figures[0])
        self.assertEqual(figures[0], figures[1])
        self.assertEqual(figures[0], figures[2])

    def test_an_exact_e_step_and_one_by_diffusion(self):
        for e_step in ("draws", "moments", "diffusion"):
            self.configure(self.folder / "g.json", gaussian={"rank": 2, "laps": 3, "e_step": e_step})
            self.succeeds("fit", "g.json", "--out", e_step, "--threads", "1")
            self.succeeds_on(3, "fit", "g.json", "--out", f"{e_step}3")
            name = "gaussian.safetensors"
            self.assertEqual(content(self.folder / e_step / name), content(self.folder / f"{e_step}3" / name))

    def test_refused(self):
        self.configure(self.folder / "one.json")
        self.configure(self.folder / "other.json", sigma_y=0.2)
        (self.folder / "elsewhere").mkdir()
        shape, values = load(self.folder / "data/y.npy")
        values = [v + 0.25 for v in values]
        support.save(self.folder / "elsewhere/y.npy", shape, values)
        os.rename(self.folder / "data/operator.json", self.folder / "operator.json")
        for folder in ("data", "elsewhere"):
            description = json.loads((self.folder / "operator.json").read_text())
            (self.folder / folder / "operator.json").write_text(json.dumps(description))
            for extra in (self.folder / "data").glob("masks.npy"):
                if folder != "data":
                    (self.folder / folder / "masks.npy").write_bytes(extra.read_bytes())
            (self.folder / folder / "here.json").write_text(json.dumps(
                {"observations": "y.npy", "operator": "operator.json", "sigma_y": 0.1, "gaussian": {"rank": 2, "laps": 2}}))
        for first, second, words in (("one.json", "other.json", "another configuration than rank 0's"),
                                     ("data/here.json", "elsewhere/here.json", 'another "y": ')):
            code, _, said = self.on(1, "fit", first, "--out", "bad", more=("fit", second, "--out", "bad"))
            self.assertNotEqual(code, 0)
            self.assertRegex(said, "diem: rank 1 of 2: .*" + words)
        code, _, said = self.on(2, "sample", "run/prior.safetensors", "--out", "bad")
        self.assertNotEqual(code, 0)
        self.assertRegex(said, "fit, posterior and evaluate alone run on several processes")
        code, _, said = self.on(2, "fit", "nothing.json", "--out", "bad")
        self.assertNotEqual(code, 0)
        self.assertRegex(said, "diem: rank . of 2: .*nothing.json")


if __name__ == "__main__":
    support.unittest.main()
