"""The highest rate without loss, and what a packet costs the node there and at half of it."""

import argparse
import statistics

from . import output, programs


def arguments():
    parser = argparse.ArgumentParser(prog="perf/throughput", description=__doc__)
    parser.add_argument("--shards", type=int, default=1, help="shards of the node [1]")
    programs.noise_argument(parser)
    parser.add_argument("--node-args", default="", help="more settings of the node, as one word")
    parser.add_argument("--mean-delay", default="20ms", help="what the node is asked for [20ms]")
    parser.add_argument("--start", type=int, default=10_000, help="rate to begin with [10000]")
    parser.add_argument("--trial", default="2s", help="length of a trial of the search [2s]")
    parser.add_argument("--duration", default="4s", help="length of a measured run [4s]")
    parser.add_argument("--rounds", type=int, default=3, help="measured runs at each rate [3]")
    return parser


def measured(tester, node, rate, options):
    """Median cost of a packet over the rounds, and what was lost in all of them."""
    load = {"duration": options.duration, "mean_delay": options.mean_delay}
    runs = [tester.measure(node, rate, **load) for _ in range(options.rounds)]
    return {
        "rate": rate,
        "cpu_us_per_packet": statistics.median(run["cpu_us_per_packet"] for run in runs),
        "back_per_s": statistics.median(run["back_per_s"] for run in runs),
        "lost": sum(run["lost"] for run in runs),
        "delay_error_p99_ms": statistics.median(run["delay_error_ms"]["p99"] for run in runs),
        "tester_was_the_limit": any(run["tester"]["was_the_limit"] for run in runs),
    }


def run(options):
    core, node_cores = programs.cores()
    settings = programs.node_settings(options.shards, options.node_args)
    tester = programs.Tester(options.programs, core)
    cores = node_cores[: options.shards]
    with programs.Node(options.programs, cores, settings, noise=options.noise) as node:
        load = {"rate": options.start, "trial": options.trial, "mean_delay": options.mean_delay}
        maximum, search = tester.find_max(node, **load)
        rows = {
            "at the highest rate without loss": measured(tester, node, maximum, options),
            "at half of it": measured(tester, node, maximum / 2, options),
        }
    top = rows["at the highest rate without loss"]
    columns = ["", "packets/s", "CPU us per packet", "lost", "delay error p99, ms", "tester late"]
    names = ["back_per_s", "cpu_us_per_packet", "lost", "delay_error_p99_ms"]
    table = output.table(
        columns,
        [
            [name, *(row[key] for key in names), "yes" if row["tester_was_the_limit"] else "no"]
            for name, row in rows.items()
        ],
    )
    result = {
        "cpu_us_per_packet": top["cpu_us_per_packet"],
        "cpu_us_per_packet_at_half": rows["at half of it"]["cpu_us_per_packet"],
        "packets_per_s": maximum,
        "lost": top["lost"],
        "noise": options.noise,
        "shards": options.shards,
        "replay_protection": True,
        "node_settings": settings,
        "runs": rows,
        "search": search["trials"],
    }
    how = programs.transport(options)
    title = f"Throughput, {options.shards} shard(s), {how}, replay protection on"
    output.write(options, title, search["environment"], [table], result)


if __name__ == "__main__":
    programs.main(run, arguments())
