"""What an application has of the mixnet: a page of thirty objects, a download, an
upload, parallel downloads and an interactive echo, through SOCKS5 and an exit.

Starts a network of processes on loopback, a web server beside it, and for each
delay a client of its own. With --other-command, a second SOCKS5 client of the
same network, which the command starts, does the same in turn."""

import argparse
import concurrent.futures
import contextlib
import datetime
import os
import re
import shlex
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from . import origin, output, programs

DIRECTORY = "http://127.0.0.10:8000"
# The page: its text, and what that names, in as many connections as a browser has to a server.
TEXT, OBJECTS, OBJECT, CONNECTIONS = 30_000, 29, 20_000, 6
# The parallel downloads.
PARALLEL, PARALLEL_SIZE = 20, 200_000
ECHOES = 40
# Longest wait for the network, in seconds.
NETWORK_TIMEOUT = 90


def arguments():
    parser = argparse.ArgumentParser(
        prog="perf/browse", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--delays", default="0,15,50", help="mean delays at each mix node, ms [0,15,50]"
    )
    parser.add_argument(
        "--main-stream", default="20ms", help="mean time between two packets of the client [20ms]"
    )
    parser.add_argument(
        "--megabytes", type=float, default=10, help="length of download and upload, MB [10]"
    )
    parser.add_argument("--rounds", type=int, default=3, help="page loads, the median counts [3]")
    parser.add_argument("--other-command", help="starts another SOCKS5 client of the same network")
    parser.add_argument("--other-proxy", help="where that client listens, as 127.0.0.1:1081")
    return parser


@contextlib.contextmanager
def running(command, place, name):
    """A program that is ended with the block; what it says is in a file."""
    with open(place / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    except OSError as error:
        said = (place / f"{name}.log").read_text(encoding="utf-8").strip()
        raise programs.Refused(f"{name}: {error}; it said: {said}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(programs.STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_network(process, place):
    """Waits until the network says how to reach it."""
    ends = time.monotonic() + NETWORK_TIMEOUT
    while DIRECTORY not in (said := (place / "localnet.log").read_text(encoding="utf-8")):
        if process.poll() is not None or time.monotonic() > ends:
            raise programs.Refused(f"the network does not start: {said.strip()}")
        time.sleep(0.2)


def made_client(options, place, delay):
    """The directory of a new client."""
    where = place / f"client-{delay}"
    command = [options.programs / "phix-client", "init", "--directory", DIRECTORY, "--dir", where]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise programs.Refused(f"no client can join the network: {ended.stderr.strip()}")
    settings = where / "phix-client.toml"
    text = settings.read_text(encoding="utf-8")
    for name, value in [("hop-delay", f"{delay}ms"), ("main-stream", options.main_stream)]:
        text, count = re.subn(rf"(?m)^#? ?{name} = .*$", f'{name} = "{value}"', text)
        if count != 1:
            raise programs.Refused(f"{settings} has no line for {name}")
    settings.write_text(text, encoding="utf-8")
    return where


def seconds(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


def page(proxy, target):
    """A browser's way through a page: its text first, then what it names."""
    first = origin.Web(proxy, target)
    first.get(TEXT)

    def fetch(number):
        web = first if number == 0 else origin.Web(proxy, target)
        for _ in range(number, OBJECTS, CONNECTIONS):
            web.get(OBJECT)
        web.close()

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(fetch, range(CONNECTIONS)))


def single(proxy, target, what, size):
    web = origin.Web(proxy, target)
    getattr(web, what)(size)
    web.close()


def echoes(proxy, target):
    """Round trips of 64 bytes, one after the other, in ms."""
    stream = origin.through(proxy, target)

    def one():
        stream.sendall(bytes(64))
        origin.exactly(stream, 64)

    one()
    trips = [1000 * seconds(one) for _ in range(ECHOES)]
    stream.close()
    return trips


def measure(options, proxy, servers):
    size = int(options.megabytes * 1e6)
    # The first connection of a client also supplies the exit with reply SURBs.
    single(proxy, servers.web, "get", 1000)
    pages = [seconds(lambda: page(proxy, servers.web)) for _ in range(options.rounds)]
    trips = echoes(proxy, servers.echo)
    down = seconds(lambda: single(proxy, servers.web, "get", size))
    up = seconds(lambda: single(proxy, servers.web, "post", size))
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        fetch = lambda _: seconds(lambda: single(proxy, servers.web, "get", PARALLEL_SIZE))
        parallel = list(pool.map(fetch, range(PARALLEL)))
    return {
        "page_s": statistics.median(pages),
        "echo_p50_ms": statistics.median(trips),
        "echo_p90_ms": statistics.quantiles(trips, n=10)[8],
        "download_kb_s": size / 1000 / down,
        "upload_kb_s": size / 1000 / up,
        "parallel_s": max(parallel),
        "parallel_first_s": min(parallel),
    }


def environment():
    fields = dict(
        (part.strip() for part in line.split(":", 1))
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
        if ":" in line
    )
    known = ("avx2", "sha_ni", "aes", "vaes", "avx512f", "avx512ifma")
    return {
        "cpu": fields.get("model name", "unknown"),
        "cpu_family": fields.get("cpu family", "?"),
        "cpu_model": fields.get("model", "?"),
        "cpu_features": [name for name in known if name in fields.get("flags", "").split()],
        "cores": len(os.sched_getaffinity(0)),
        "kernel": os.uname().release,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def run(options):
    if bool(options.other_command) != bool(options.other_proxy):
        raise programs.Refused("--other-command and --other-proxy go together")
    before, results = environment(), []
    with tempfile.TemporaryDirectory(prefix="phix-browse-") as name, origin.Origin() as servers:
        place = Path(name)
        with running([options.programs / "phix-node", "localnet"], place, "localnet") as net:
            wait_for_network(net, place)
            for delay in options.delays.split(","):
                where = made_client(options, place, int(delay))
                listen = f"127.0.0.1:{programs.free_port()}"
                command = [options.programs / "phix-client", "socks5", "--dir", where]
                with running([*command, "--listen", listen], place, f"socks5-{delay}") as client:
                    programs.wait_for(listen, client)
                    row = measure(options, address(listen), servers)
                    results.append({"client": "phix-client", "delay_ms": int(delay), **row})
            if options.other_command:
                with running(shlex.split(options.other_command), place, "other") as client:
                    programs.wait_for(options.other_proxy, client)
                    row = measure(options, address(options.other_proxy), servers)
                    results.append({"client": "other", "delay_ms": None, **row})
    columns = [
        "client, mean delay of a hop", "page of 30, s", "echo p50, ms", "p90, ms",
        "download, KB/s", "upload, KB/s", f"{PARALLEL} at once: first, s", "last, s",
    ]
    keys = [
        "page_s", "echo_p50_ms", "echo_p90_ms", "download_kb_s", "upload_kb_s",
        "parallel_first_s", "parallel_s",
    ]
    named = lambda row: row["client"] + (
        "" if row["delay_ms"] is None else f", {row['delay_ms']} ms"
    )
    rows = [[named(row), *(float(row[key]) for key in keys)] for row in results]
    title = f"Applications through SOCKS5, a packet of the client every {options.main_stream}"
    output.write(options, title, before, [output.table(columns, rows)], {"runs": results})
    return 0


if __name__ == "__main__":
    programs.main(run, arguments())
