"""Tests of the arithmetic: `PYTHONPATH=perf python3 -B -m unittest phixperf.tests`."""

import unittest
import xml.etree.ElementTree as xml

from . import metrics, model, output, profile, stats

SCRIPT = """phix-0
    55aa x25519+0x10
    55ab open
    55ac turn

phix-0
    55ad lioness
    55ac turn

phix-0
    55ad lioness
    55ac turn
"""


def page(low, middle, high):
    return f"""# TYPE phix_delay_error_seconds histogram
phix_delay_error_seconds_bucket{{le="0.001"}} {low}
phix_delay_error_seconds_bucket{{le="0.002"}} {middle}
phix_delay_error_seconds_bucket{{le="+Inf"}} {high}
phix_other_seconds_bucket{{le="0.001"}} 7
"""


class Arithmetic(unittest.TestCase):
    def test_the_wait_is_that_of_pollaczek_and_khinchine(self):
        # Half loaded, a deterministic server makes a packet wait half a service time.
        self.assertAlmostEqual(model.wait_s(50_000, 10e-6), 5e-6)
        self.assertAlmostEqual(model.sojourn_s(50_000, 10e-6), 15e-6)
        self.assertAlmostEqual(model.wait_s(100_000, 10e-6, shards=2), 5e-6)
        self.assertEqual(model.wait_s(100_000, 10e-6), float("inf"))

    def test_both_laws_agree_with_the_two_points_that_they_come_from(self):
        sigma, kappa = model.penalties(10e-6, 11e-6)
        for law in ({"sigma": sigma}, {"kappa": kappa}):
            self.assertAlmostEqual(model.capacity(1, 10e-6, **law), 100_000)
            self.assertAlmostEqual(model.capacity(2, 10e-6, **law), 2 / 11e-6)
        self.assertGreater(
            model.capacity(64, 10e-6, sigma=sigma), model.capacity(64, 10e-6, kappa=kappa)
        )
        self.assertEqual(model.penalties(10e-6, 9e-6), (0.0, 0.0))

    def test_the_interval_holds_the_median_and_narrows(self):
        wide = stats.bootstrap_median([1.0, 1.2, 0.8, 1.1, 0.9])
        narrow = stats.bootstrap_median([1.0, 1.2, 0.8, 1.1, 0.9] * 20)
        for median, low, high in (wide, narrow):
            self.assertEqual(median, 1.0)
            self.assertTrue(0.8 <= low <= 1.0 <= high <= 1.2)
        self.assertLess(narrow[2] - narrow[1], wide[2] - wide[1])
        self.assertEqual(stats.bootstrap_median([0.5]), (0.5, 0.5, 0.5))

    def test_growth_is_the_slope(self):
        self.assertAlmostEqual(stats.slope([0, 1, 2, 3], [5, 7, 9, 11]), 2)
        self.assertEqual(stats.slope([1], [5]), 0)

    def test_a_histogram_of_the_node_is_read_between_two_looks(self):
        looks = [page(100, 100, 100), page(190, 199, 200)]
        before, after = (metrics.buckets(text, "phix_delay_error_seconds") for text in looks)
        self.assertEqual(after, [(0.001, 190), (0.002, 199), (float("inf"), 200)])
        histogram = metrics.between(before, after)
        bounds = [metrics.bound_of(histogram, share) for share in (0.5, 0.9, 0.99, 1)]
        self.assertEqual(bounds, [0.001, 0.001, 0.002, float("inf")])
        self.assertIsNone(metrics.bound_of(metrics.between(after, after), 0.5))
        self.assertIsNone(metrics.bound_of([], 0.5))

    def test_tables_are_markdown(self):
        table = output.table(["", "x"], [["a", 1234.5], ["b", 0.01234], ["c", 7]])
        lines = ["|  | x |", "|---|---:|", "| a | 1234 |", "| b | 0.012 |", "| c | 7 |"]
        self.assertEqual(table.splitlines(), lines)

    def test_samples_become_a_flame_graph(self):
        stacks = profile.fold(SCRIPT)
        self.assertEqual(stacks[("phix-0", "turn", "lioness")], 2)
        self.assertEqual(stacks[("phix-0", "turn", "open", "x25519")], 1)
        picture = xml.fromstring(profile.flame(stacks))
        titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("turn: 100.00%", titles)
        self.assertIn("lioness: 66.67%", titles)
        self.assertEqual(len(titles), 5)


if __name__ == "__main__":
    unittest.main()
