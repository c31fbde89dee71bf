"""A bounded time under constant load: memory, open files, loss."""

import argparse
import threading
import time

from . import output, programs, stats

# Length of one load; its packets are in memory at once.
STRETCH_S = 10
# Seconds at the beginning whose growth is that of a node that warms up.
WARM_UP_S = 5


class Watch(threading.Thread):
    """Looks at a node every second."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.rows, self.over = node, [], threading.Event()

    def run(self):
        began = time.monotonic()
        while not self.over.wait(1):
            at = time.monotonic() - began
            self.rows.append((at, self.node.resident_mib(), self.node.files()))

    def growth(self, column):
        """Change per minute after the warm-up."""
        rows = [row for row in self.rows if row[0] >= WARM_UP_S]
        return 60 * stats.slope([row[0] for row in rows], [row[column] for row in rows])


def arguments():
    parser = argparse.ArgumentParser(prog="perf/soak", description=__doc__)
    parser.add_argument("--node-args", default="", help="more settings of the node, as one word")
    parser.add_argument("--rate", type=float, default=5000, help="packets per second [5000]")
    parser.add_argument("--seconds", type=int, default=60, help="how long to send [60]")
    return parser


def run(options):
    core, node_cores = programs.cores()
    tester = programs.Tester(options.programs, core)
    results = []
    settings = programs.node_settings(1, options.node_args)
    with programs.Node(options.programs, node_cores[:1], settings) as node:
        watch = Watch(node)
        watch.start()
        left = options.seconds
        while left > 0:
            length = min(left, STRETCH_S)
            results.append(tester.measure(node, options.rate, duration=f"{length}s"))
            left -= length
        watch.over.set()
        watch.join()
    total = lambda name: sum(result[name] for result in results)
    rows = [
        ["packets", total("sent")],
        ["lost", total("lost")],
        ["damaged, duplicate or unknown", sum(map(total, ("damaged", "duplicates", "unknown")))],
        ["resident memory at the end, MiB", watch.rows[-1][1]],
        ["its growth, MiB per minute", watch.growth(1)],
        ["open files at the end", watch.rows[-1][2]],
        ["their growth per minute", watch.growth(2)],
        ["delay error p99, worst stretch, ms", max(r["delay_error_ms"]["p99"] for r in results)],
    ]
    title = f"Soak: {options.rate:.0f} packets/s for {options.seconds} s"
    result = {"runs": results, "seconds": watch.rows, "summary": dict(rows)}
    output.write(options, title, results[0]["environment"], [output.table(["", ""], rows)], result)
    return 0 if total("lost") == 0 else 1


if __name__ == "__main__":
    programs.main(run, arguments())
