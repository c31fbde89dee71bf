"""Where a node's processor time goes, as folded stacks and a flame graph; needs Linux perf."""

import argparse
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

from . import programs

WIDTH, ROW = 1200, 16
# Narrower boxes than this many pixels are left out.
NARROW = 0.5
HEIGHT_MAX = 64


def arguments():
    parser = argparse.ArgumentParser(prog="perf/profile", description=__doc__)
    parser.add_argument("--node-args", default="", help="more settings of the node, as one word")
    parser.add_argument("--rate", type=float, default=10_000, help="packets per second [10000]")
    parser.add_argument("--seconds", type=int, default=5, help="how long to sample [5]")
    parser.add_argument("--out", default="profile", help="files are OUT.folded and OUT.svg")
    return parser


def fold(script):
    """Samples by stack, outermost function first, from the text of `perf script -F comm,ip,sym`."""
    stacks = Counter()
    for sample in re.split(r"\n\s*\n", script.strip()):
        lines = sample.splitlines()
        frames = [re.sub(r"^\s*[0-9a-f]+\s+", "", line).strip() for line in lines[1:]]
        frames = [re.sub(r"\+0x[0-9a-f]+$", "", frame) for frame in frames if frame]
        if lines and lines[0].strip():
            stacks[tuple([lines[0].split()[0], *reversed(frames)][:HEIGHT_MAX])] += 1
    return stacks


def flame(stacks):
    """A flame graph as SVG: a box per function and stack, as wide as its share of the samples."""
    total = sum(stacks.values())
    rows, edges = [], sorted(stacks.items())
    for depth in range(max((len(stack) for stack in stacks), default=0)):
        at, boxes = 0, []
        for stack, count in edges:
            if len(stack) > depth:
                way = stack[: depth + 1]
                if boxes and boxes[-1][0] == way and boxes[-1][1] + boxes[-1][2] == at:
                    boxes[-1][2] += count
                else:
                    boxes.append([way, at, count])
            at += count
        rows.append(boxes)
    height = (len(rows) + 1) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="11">'
    ]
    for depth, boxes in enumerate(rows):
        for way, at, count in boxes:
            width = WIDTH * count / total
            if width >= NARROW:
                parts.append(box(way[-1], count / total, WIDTH * at / total, width, height, depth))
    return "\n".join([*parts, "</svg>"]) + "\n"


def box(name, share, x, width, height, depth):
    y = height - (depth + 1) * ROW
    escape = lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    label = escape(name[: int(width / 6.7)])
    hue = 20 + sum(name.encode()) % 35
    return (
        f"<g><title>{escape(name)}: {share:.2%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
        f'fill="hsl({hue} 80% 65%)"/><text x="{x + 2:.1f}" y="{y + 11}">{label}</text></g>'
    )


def sample(node, seconds, place):
    """Samples the node for so long; the text of the samples, or why there is none."""
    data = str(Path(place) / "perf.data")
    record = ["perf", "record", "-q", "-F", "999", "-g", "-o", data, "-p", str(node.process.pid)]
    taken = subprocess.run(
        [*record, "--", "sleep", str(seconds)], capture_output=True, text=True, check=False
    )
    script = ["perf", "script", "-i", data, "-F", "comm,ip,sym"]
    text = subprocess.run(script, capture_output=True, text=True, check=False)
    if taken.returncode != 0 or not text.stdout.strip():
        reason = (taken.stderr or text.stderr).strip().splitlines()
        raise programs.Refused(
            f"perf takes no samples here ({reason[0] if reason else 'it gave none'}); run as root, "
            "or lower /proc/sys/kernel/perf_event_paranoid, on a machine with performance counters"
        )
    return text.stdout


def run(options):
    if shutil.which("perf") is None:
        raise programs.Refused("perf is not installed; it comes with the kernel's tools")
    core, node_cores = programs.cores()
    tester = programs.Tester(options.programs, core)
    settings = programs.node_settings(1, options.node_args)
    load = {"duration": f"{options.seconds + 3}s", "mean_delay": "20ms"}
    with programs.Node(options.programs, node_cores[:1], settings) as node:
        offering = threading.Thread(
            target=tester.measure, args=(node, options.rate), kwargs=load, daemon=True
        )
        idle = node.cpu_s()
        offering.start()
        # The packets are built first; sampling begins when the node has begun to work.
        while offering.is_alive() and node.cpu_s() < idle + 0.1:
            offering.join(0.05)
        with tempfile.TemporaryDirectory(prefix="phix-perf-") as place:
            stacks = fold(sample(node, options.seconds, place))
        offering.join()
    lines = (f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks.items()))
    Path(f"{options.out}.folded").write_text("".join(lines), encoding="utf-8")
    Path(f"{options.out}.svg").write_text(flame(stacks), encoding="utf-8")
    print(f"{sum(stacks.values())} samples: {options.out}.folded, {options.out}.svg")


if __name__ == "__main__":
    programs.main(run, arguments(), tables=False)
