"""Macro measurements of mix nodes: what a node does under load, on real sockets.

Each command (`perf/throughput` and its siblings) starts nodes, offers packets with `phix-client
load`, and writes one JSON file and one Markdown table. `programs` runs the programs, `stats` and
`model` are arithmetic, `output` writes. Nothing outside Python's standard library is used.
"""
