"""One shard against two at the same rate, and what the queueing model makes of it.

The rate without loss of two shards is measured where a third core is left for the tester.
"""

import argparse
import statistics

from . import model, output, programs

PREDICTED = [1, 2, 4, 8, 16, 32, 64]


def arguments():
    parser = argparse.ArgumentParser(prog="perf/scaling", description=__doc__)
    parser.add_argument("--node-args", default="", help="more settings of the node, as one word")
    programs.noise_argument(parser)
    parser.add_argument("--rate", type=float, help="the rate of the comparison [half of the max]")
    parser.add_argument("--duration", default="4s", help="length of each run [4s]")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn [3]")
    return parser


def run(options):
    core, node_cores = programs.cores()
    tester = programs.Tester(options.programs, core)
    alone = len(node_cores) > 1
    # On two cores the second shard shares the tester's; what it costs can be measured all the same.
    places = {1: node_cores[:1], 2: node_cores[:2] if alone else [core, *node_cores]}
    maximum, cost, runs = {}, {1: [], 2: []}, []
    node = lambda shards: programs.Node(
        options.programs,
        places[shards],
        programs.node_settings(shards, options.node_args),
        noise=options.noise,
    )
    for shards in [1, 2] if alone else [1]:
        with node(shards) as under_test:
            maximum[shards], search = tester.find_max(under_test, rate=10_000, mean_delay="20ms")
    rate = options.rate or maximum[1] / 2
    for _ in range(options.rounds):
        for shards in (1, 2):
            with node(shards) as under_test:
                load = {"duration": options.duration, "mean_delay": "20ms", "connections": 8}
                result = tester.measure(under_test, rate, **load)
                cost[shards].append(result["cpu_us_per_packet"])
                runs.append({"shards": shards, "result": result})
    with node(1) as under_test:
        load = {"duration": options.duration, "mean_delay": "20ms"}
        top = tester.measure(under_test, maximum[1], **load)["cpu_us_per_packet"]
    one, two = (statistics.median(cost[shards]) for shards in (1, 2))
    sigma, kappa = model.penalties(one, two)
    measured = output.table(
        ["shards", "packets/s offered", "CPU us per packet", "times one shard", "max packets/s"],
        [
            [shards, rate, value, value / one, maximum.get(shards, "no core left")]
            for shards, value in ((1, one), (2, two))
        ],
    )
    service = top / 1e6
    predicted = output.table(
        ["cores", "contention (sigma)", "coherence (kappa)"],
        [
            [n, model.capacity(n, service, sigma=sigma), model.capacity(n, service, kappa=kappa)]
            for n in PREDICTED
        ],
    )
    check = (
        f"The model says {model.capacity(1, service):.0f} packets/s for one shard, from {top:.1f} "
        f"us per packet at the highest rate; {maximum[1]:.0f} were measured without loss, "
        f"{maximum[1] * service:.0%} of that. sigma = {sigma:.4f}, kappa = {kappa:.4f}, from "
        f"{options.rounds} rounds."
    )
    assumptions = model.__doc__[model.__doc__.index("Assumptions") :].strip()
    tables = [measured, check, "Predicted packets/s:", predicted, assumptions]
    result = {"max_rate": maximum, "rate": rate, "cost_us": cost, "cost_us_at_max": top}
    result |= {"sigma": sigma, "kappa": kappa, "noise": options.noise, "runs": runs}
    title = f"Scaling, {programs.transport(options)}"
    output.write(options, title, search["environment"], tables, result)


if __name__ == "__main__":
    programs.main(run, arguments())
