"""Two nodes in turn under the same load: paired ratios with a confidence interval.

Each side is phix-node with the settings of --a-args or --b-args, or any command of a node of the
Nym wire protocol with its address and Sphinx key.
"""

import argparse
import shlex

from . import output, programs, stats


def arguments():
    parser = argparse.ArgumentParser(prog="perf/compare", description=__doc__)
    for side in "ab":
        parser.add_argument(f"--{side}-args", default="", help="settings of phix-node, as one word")
        parser.add_argument(f"--{side}-command", help="another node, as one word")
        parser.add_argument(f"--{side}-address", help="where that takes packets")
        parser.add_argument(f"--{side}-key", help="its Sphinx key in base58")
    parser.add_argument("--rate", type=float, default=5000, help="packets per second [5000]")
    parser.add_argument("--duration", default="3s", help="length of each run [3s]")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each, in turn [7]")
    parser.add_argument("--mean-delay", default="20ms", help="what the node is asked for [20ms]")
    parser.add_argument("--tester-args", default="", help="more options of phix-client load")
    return parser


def node(options, side, cores):
    of = lambda name: getattr(options, f"{side}_{name}")
    command = shlex.split(of("command")) if of("command") else None
    settings = programs.node_settings(1, of("args"))
    places = {"address": of("address"), "key": of("key")}
    return programs.Node(options.programs, cores, settings, command, **places)


MEASURES = {
    "CPU us per packet": lambda result: result["cpu_us_per_packet"],
    "delay error p50, ms": lambda result: result["delay_error_ms"]["p50"],
    "delay error p99, ms": lambda result: result["delay_error_ms"]["p99"],
}


def run(options):
    core, node_cores = programs.cores()
    tester = programs.Tester(options.programs, core, shlex.split(options.tester_args))
    runs = {"a": [], "b": []}
    for turn in range(options.rounds):
        # Whoever goes first changes from round to round, so that drift falls on both.
        for side in ("ab", "ba")[turn % 2]:
            with node(options, side, node_cores[:1]) as under_test:
                load = {"duration": options.duration, "mean_delay": options.mean_delay}
                runs[side].append(tester.measure(under_test, options.rate, **load))
    rows, ratios = [], {}
    for name, measure in MEASURES.items():
        a, b = ([measure(result) for result in runs[side]] for side in "ab")
        paired = [one / other for one, other in zip(a, b) if other > 0]
        median, low, high = stats.bootstrap_median(paired)
        ratios[name] = {"median": median, "low": low, "high": high}
        middle = [stats.bootstrap_median(sample)[0] for sample in (a, b)]
        rows.append([name, *middle, median, f"{low:.3f} to {high:.3f}"])
    rows.append(["lost", *(sum(result["lost"] for result in runs[side]) for side in "ab"), "", ""])
    title = f"A against B at {options.rate:.0f} packets/s, {options.rounds} rounds in turn, medians"
    table = output.table(["", "A", "B", "A/B, paired", "95 % interval"], rows)
    result = {"ratios": ratios, "runs": runs}
    output.write(options, title, runs["a"][0]["environment"], [table], result)


if __name__ == "__main__":
    programs.main(run, arguments())
