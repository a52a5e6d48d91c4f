#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A diffusion EM on 1, 2, 3, 4 and 9 ranks is one and the same; killed, hung, failed or cancelled ones end all, and go on elsewhere.

    ranks_test.py MPIEXEC [valgrind OPTION...] PROGRAM
"""
import os
import subprocess
import sys
import tempfile
import time

MPIEXEC, *PROGRAM = sys.argv[1:]
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_base_warn_component_unused="0")
FILES = ["prior_0.safetensors", "prior_1.safetensors", "prior_2.safetensors", "run.safetensors"]
bad = 0


def run(ranks, folder, resume="fresh", act="none", at=0, memory=()):
    begun = time.monotonic()
    done = subprocess.run([MPIEXEC, "-n", str(ranks), *PROGRAM, folder, resume, act, str(at), *memory], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begun


def check(what, good, *seen):
    global bad
    print(("ok   " if good else "BAD  ") + what, flush=True)
    if not good:
        bad += 1
        print(*seen, sep="\n", flush=True)


with tempfile.TemporaryDirectory() as top:
    status, alone, error, _ = run(1, os.path.join(top, "alone"))
    check("one rank", status == 0 and len(alone.splitlines()) > 100, status, alone, error)
    for ranks in (2, 3, 4, 9):  # of 7 batches and 5 parts
        status, out, error, _ = run(ranks, os.path.join(top, f"of{ranks}"))
        check(f"{ranks} ranks give the same numbers", status == 0 and out == alone, status, error)
    status, out, error, _ = run(3, os.path.join(top, "device"), memory=["device"])
    check("3 ranks whose buffers may lie on a device give the same numbers", status == 0 and out == alone, status, error)
    for ranks in (1, 2, 4):  # all that an all-reduce has to send: docs/scaling.md
        status, out, error, _ = run(ranks, top, act="traffic", at=1 << 16)
        check(f"{ranks} ranks send 2 n (R - 1) / R numbers", status == 0 and
              int(out.split()[0]) == 4 * 2 * (1 << 16) * (ranks - 1) // ranks, status, out, error)
    # Progress numbers 1 .. 7 are the E-step's batches, 8 .. 11 reports of training; `drew`: batches that are missing after that,
    # as three ranks write theirs after 3, 6 and 7 (the first E-step is by exact draws, all seven at once).
    for act, at, said, drew in (("kill", 3, "signal 9", "7 batches of lap 0"), ("kill", 9, "signal 9", "0 batches of lap 0"),
                                ("kill", 12, "signal 9", "7 batches of lap 1"), ("kill", 16, "signal 9", "4 batches of lap 1"),
                                ("kill", 18, "signal 9", "1 batches of lap 1"),
                                ("throw", 5, "rank 2 of 3: y.npy: a bad file", "7 batches of lap 0"),
                                ("throw", 17, "rank 2 of 3: y.npy: a bad file", "4 batches of lap 1"),
                                ("stop", 10, "rank 2 did not come to", "0 batches of lap 0"),
                                ("freeze", 10, "rank 2 has not been heard of for 3 seconds, while waiting for", "0 batches of lap 0")):
        folder = os.path.join(top, f"{act}{at}")
        status, out, error, seconds = run(3, folder, act=act, at=at)
        check(f"{act} at {at}: all end, with a word", status not in (0, 3) and said in error and seconds < 60, status,
              error, seconds)
        lost = {name for name in os.listdir(folder) if ".tmp-" in name}  # of ranks that were ended while they wrote
        status, out, error, _ = run(2, folder, "resume")
        check("  and two ranks go on to the same numbers", status == 0 and out == alone, status, error)
        check(f"  having drawn {drew}", f"drew {drew}" in error, error)
        check("  and leave the state and the priors", sorted(os.listdir(folder)) == FILES, os.listdir(folder), lost)
    # One rank's file of the seven batches is gone: its three are drawn, on more ranks than before, and on one.
    for ranks in (4, 1):
        folder = os.path.join(top, f"gap{ranks}")
        status, out, error, _ = run(3, folder, act="kill", at=12 + 7)
        check("killed in training", status not in (0, 3), status, error)
        os.remove(os.path.join(folder, "samples_1_8.safetensors"))
        status, out, error, _ = run(ranks, folder, "resume")
        check(f"without a file of rank 1 {ranks} ranks draw what was in it", status == 0 and out == alone and
              "drew 1 batches of lap 1" in error, status, error)
    folder = os.path.join(top, "cancel")
    status, out, error, _ = run(4, folder, act="cancel", at=13)
    check("cancelled on one rank: all stop", status == 3, status, error)
    status, out, error, _ = run(1, folder, "resume")
    check("  and one rank goes on to the same numbers", status == 0 and out == alone, status, error)
    check("  having drawn what four had not", "drew 3 batches of lap 1" in error, error)
    status, alone, error, _ = run(1, os.path.join(top, "draws"), act="draws")
    check("exact draws on one rank", status == 0 and len(alone.splitlines()) > 100, status, alone, error)
    for ranks, at, drew in ((2, 1, 7), (3, 2, 7), (3, 8, 0)):  # of two sets of seven batches
        folder = os.path.join(top, f"draws{ranks}{at}")
        status, out, error, _ = run(ranks, folder, act="draws", at=at)
        check(f"exact draws, cancelled on one of {ranks} ranks: all stop", status == 3, status, error)
        status, out, error, _ = run(ranks + 1, folder, "resume", act="draws")
        check("  and more ranks go on to the same numbers", status == 0 and out == alone, status, error)
        check(f"  having drawn {drew} batches", f"drew {drew} batches of lap 0" in error, error)
sys.exit(1 if bad else 0)
