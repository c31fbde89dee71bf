"""A queueing model of a node, to be held against measurements before it predicts anything.

Assumptions:
* A shard serves one packet after the other, in the same time s for each: its processor time per
  packet. Arrivals are Poisson and spread evenly over the shards, each with a queue of its own. So a
  shard is an M/D/1 queue with load rho = rate * s / n, and a packet waits rho * s / (2 (1 - rho))
  on average (Pollaczek-Khinchine).
* More shards make a packet cost more, by the Universal Scalability Law (Gunther 2007) in its two
  extremes: s(n) = s(1) (1 + sigma (n - 1)) if shards contend for something that is served one at a
  time, s(n) = s(1) (1 + kappa n (n - 1)) if each exchanges cache lines with each. Two points
  decide one parameter: both extremes are given, and the truth of a larger machine is expected in
  between.
* The kernel, memory bandwidth and network interface keep up, and the load tester is elsewhere.
"""


def wait_s(rate, service_s, shards=1):
    """Mean wait in the queue of a shard, in seconds; infinite beyond the capacity."""
    load = rate * service_s / shards
    return load * service_s / (2 * (1 - load)) if load < 1 else float("inf")


def sojourn_s(rate, service_s, shards=1):
    """Mean time from arrival to the end of the service."""
    return wait_s(rate, service_s, shards) + service_s


def penalties(one_s, two_s):
    """(sigma, kappa): each alone explains the service times of one and of two shards. A second
    shard that is measured cheaper than the first is taken for noise: no penalty."""
    growth = max(two_s / one_s - 1, 0.0)
    return growth, growth / 2


def capacity(shards, one_s, sigma=0.0, kappa=0.0):
    """Packets per second of a node with so many shards, each on a core of its own."""
    service = one_s * (1 + sigma * (shards - 1) + kappa * shards * (shards - 1))
    return shards / service
