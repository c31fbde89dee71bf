"""Delay error and end-to-end latency, from idle to 95 % of the highest rate without loss.

Beside them the tester's own lateness, and the mean time in an M/D/1 queue whose service time is the
processor time of a packet at that load. "Node" is what the node itself measured of departure minus
deadline, as an upper bound: its histogram counts in powers of two.
"""

import argparse
import math
import time

from . import metrics, model, output, programs

LOADS = "1,20,50,80,95"


def arguments():
    parser = argparse.ArgumentParser(prog="perf/latency", description=__doc__)
    parser.add_argument("--node-args", default="", help="more settings of the node, as one word")
    parser.add_argument("--mean-delay", default="20ms", help="what the node is asked for [20ms]")
    parser.add_argument("--max", type=float, help="the highest rate, if it is known already")
    parser.add_argument("--loads", default=LOADS, help=f"per cent of the highest rate [{LOADS}]")
    programs.noise_argument(parser)
    parser.add_argument("--duration", default="5s", help="length of each run [5s]")
    return parser


def delay_errors(node):
    """The node's own histogram, when its page has caught up."""
    time.sleep(metrics.REFRESH_S)
    return metrics.buckets(metrics.page(node.metrics), "phix_delay_error_seconds")


def run(options):
    core, node_cores = programs.cores()
    settings = programs.node_settings(1, options.node_args)
    tester = programs.Tester(options.programs, core)
    rows, runs = [], []
    with programs.Node(options.programs, node_cores[:1], settings, noise=options.noise) as node:
        maximum = options.max or tester.find_max(node, rate=10_000, mean_delay="20ms")[0]
        for share in (float(load) / 100 for load in options.loads.split(",")):
            load = {"duration": options.duration, "mean_delay": options.mean_delay}
            before = delay_errors(node)
            result = tester.measure(node, share * maximum, arrivals="poisson", **load)
            own = metrics.between(before, delay_errors(node))
            own = [1000 * metrics.bound_of(own, quantile) for quantile in (0.99, 0.999)]
            # JSON has no infinity.
            known = [bound if math.isfinite(bound) else None for bound in own]
            result["node_delay_error_ms_at_most"] = dict(zip(("p99", "p99.9"), known))
            runs.append({"share": share, "result": result})
            error, latency = result["delay_error_ms"], result["latency_ms"]
            # The cost of a packet is its service time; the model has no batches and no sockets.
            service = runs[-1]["result"]["cpu_us_per_packet"] / 1e6
            theory = 1000 * model.sojourn_s(share * maximum, service)
            rows.append(
                [f"{share:.0%}", share * maximum]
                + [error[name] for name in ("p50", "p99", "p99.9", "max")]
                + [*own, latency["p50"], latency["p99"], result["own_lateness_ms"]["p99"]]
                + [theory, result["lost"]]
            )
    columns = ["load", "packets/s", "error p50", "p99", "p99.9", "max"]
    columns += ["node p99", "p99.9", "latency p50", "p99"]
    columns += ["own late p99", "M/D/1", "lost"]
    how = programs.transport(options)
    title = f"Latency in ms, Poisson arrivals, {options.mean_delay} mean delay, one shard, {how}"
    environment = runs[0]["result"]["environment"]
    result = {"max_rate": maximum, "noise": options.noise, "runs": runs, "node_settings": settings}
    output.write(options, title, environment, [output.table(columns, rows)], result)


if __name__ == "__main__":
    programs.main(run, arguments())
