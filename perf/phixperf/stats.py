"""The little statistics that noisy machines need."""

import math
import random
import statistics

RESAMPLES = 10_000


def bootstrap_median(sample, confidence=0.95, seed=1):
    """Median and percentile bootstrap interval (Efron 1979). Repeatable: the seed is fixed."""
    if not sample:
        raise ValueError("a sample has values")
    generator = random.Random(seed)
    draw = lambda: statistics.median(generator.choices(sample, k=len(sample)))
    medians = sorted(draw() for _ in range(RESAMPLES))
    tail = (1 - confidence) / 2
    low, high = medians[int(tail * RESAMPLES)], medians[math.ceil((1 - tail) * RESAMPLES) - 1]
    return statistics.median(sample), low, high


def slope(times, values):
    """Change of `values` per unit of `times`, by least squares; 0 for a single point."""
    if len(set(times)) < 2:
        return 0.0
    return statistics.linear_regression(times, values).slope
