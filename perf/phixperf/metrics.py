"""Reads the histograms that phix-node shows on its metrics page."""

import re
import urllib.request

TIMEOUT_S = 5
# The page is refreshed this often at most, in seconds; wait for longer before the second look.
REFRESH_S = 1.5


def page(address):
    """The text of the metrics page at `address`."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as answer:
        return answer.read().decode()


def buckets(text, name):
    """Upper bounds and cumulative counts of a histogram, the highest bound being infinite."""
    line = re.compile(rf'^{re.escape(name)}_bucket{{.*?le="([^"]+)".*?}} (\S+)', re.M)
    return [(float(bound), float(count)) for bound, count in line.findall(text)]


def between(before, after):
    """What came into a histogram from one look at it to the next."""
    earlier = dict(before)
    return [(bound, count - earlier.get(bound, 0)) for bound, count in after]


def bound_of(histogram, quantile):
    """The lowest bound that at least a share `quantile` of the values do not exceed; none of an
    empty histogram."""
    total = histogram[-1][1] if histogram else 0
    if total == 0:
        return None
    return next(bound for bound, count in histogram if count >= quantile * total)
