# SPDX-License-Identifier: Apache-2.0
"""How the peers of the benchmarks are timed. Environment: REPEATS, timed calls after one that is not."""
import json
import os
import resource
import statistics
import time

REPEATS = int(os.environ.get("REPEATS", 5))


def measure(peer, case, run, **facts):
    """One JSON line: medians of the milliseconds of the clock and of the processor, peak memory of the process, `facts`."""
    run()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    clock, processor = (round(1e3 * statistics.median(each), 2) for each in zip(*times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"peer": peer, "case": case, "ms": clock, "processor_ms": processor, "peak_mb": peak} | facts), flush=True)
