"""The highest rate of the load tester itself, against a peer that only sends back what it gets.

Below this rate, what a measurement of a node shows is the node.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import output, programs


class Reflector:
    """The peer, on cores of its own."""

    def __init__(self, cores, noise):
        self.noise = noise
        port, home = programs.free_port(), programs.free_port()
        self.address, self.home = f"127.0.0.1:{port}", f"127.0.0.1:{home}"
        command = [sys.executable, "-B", "-m", "phixperf.reflector", str(port), self.home]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        self.process = subprocess.Popen(
            command, env=environment, preexec_fn=programs.pinned(set(cores))
        )
        programs.wait_for(self.address, self.process)

    def target(self):
        return ["--echo", self.address, "--listen", self.home, *(["--noise"] * self.noise)]

    def cpu_s(self):
        return programs.processor_s(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def arguments():
    parser = argparse.ArgumentParser(prog="perf/tester", description=__doc__)
    parser.add_argument("--trial", default="1s", help="length of a trial [1s]")
    parser.add_argument("--noise", action="store_true", help="with Noise, as both of its ends")
    parser.add_argument("--start", type=int, default=40_000, help="rate to begin with [40000]")
    return parser


def run(options):
    core, others = programs.cores()
    tester = programs.Tester(options.programs, core)
    with Reflector(others[:1], options.noise) as peer:
        load = {"rate": options.start, "trial": options.trial, "max_rate": 400_000}
        maximum, report = tester.find_max(peer, tolerance="5%", **load)
    rows = []
    for trial in report["trials"]:
        result = trial["result"]
        met = "yes" if result["objective"]["met"] else "; ".join(result["objective"]["missed"])
        error, own = result["delay_error_ms"], result["own_lateness_ms"]
        rows.append([trial["rate"], result["back_per_s"], error["p99"], own["p99"], met])
    columns = ["packets/s offered", "back per s", "latency p99, ms", "own lateness p99, ms", "met"]
    how = "in Noise" if options.noise else "plain TCP"
    title = f"The tester alone, on one core, {how}: regular packets, sent, read back and checked"
    result = {"packets_per_s": maximum, "noise": options.noise, "trials": report["trials"]}
    output.write(options, title, report["environment"], [output.table(columns, rows)], result)


if __name__ == "__main__":
    programs.main(run, arguments())
