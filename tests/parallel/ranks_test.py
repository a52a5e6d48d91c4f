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
    # Progress numbers 1 .. 7 are the E-step's batches, 8 .. 11 reports of training.
    for act, at, said in (("kill", 3, "signal 9"), ("kill", 9, "signal 9"), ("throw", 5, "rank 2 of 3: y.npy: a bad file"),
                          ("stop", 10, "rank 2 did not come to"),
                          ("freeze", 10, "rank 2 has not been heard of for 3 seconds, while waiting for")):
        folder = os.path.join(top, f"{act}{at}")
        status, out, error, seconds = run(3, folder, act=act, at=at)
        check(f"{act} at {at}: all end, with a word", status not in (0, 3) and said in error and seconds < 60, status,
              error, seconds)
        status, out, error, _ = run(2, folder, "resume")
        check("  and two ranks go on to the same numbers", status == 0 and out == alone, status, error)
    folder = os.path.join(top, "cancel")
    status, out, error, _ = run(4, folder, act="cancel", at=13)
    check("cancelled on one rank: all stop", status == 3, status, error)
    status, out, error, _ = run(1, folder, "resume")
    check("  and one rank goes on to the same numbers", status == 0 and out == alone, status, error)
    status, alone, error, _ = run(1, os.path.join(top, "draws"), act="draws")
    check("exact draws on one rank", status == 0 and len(alone.splitlines()) > 100, status, alone, error)
    for ranks, at in ((2, 1), (3, 2)):  # of two sets of draws
        folder = os.path.join(top, f"draws{ranks}")
        status, out, error, _ = run(ranks, folder, act="draws", at=at)
        check(f"exact draws, cancelled on one of {ranks} ranks: all stop", status == 3, status, error)
        status, out, error, _ = run(ranks + 1, folder, "resume", act="draws")
        check("  and more ranks go on to the same numbers", status == 0 and out == alone, status, error)
sys.exit(1 if bad else 0)
