"""Runs nodes and the load tester, and reads what the kernel knows of them."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Longest wait for a node to listen, in seconds.
START_TIMEOUT = 30
# Longest wait for a node to end, in seconds; more than its `drain` setting.
STOP_TIMEOUT = 20


class Refused(Exception):
    """A sentence for the person who asked: what is wrong and what to do."""


def build():
    """Builds both programs as they are shipped; their directory."""
    command = ["cargo", "build", "--release", "--quiet", "-p", "phix-node", "-p", "phix-client"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise Refused("the programs cannot be built; see above")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cores):
    """A function that keeps a child on these cores; for `preexec_fn`."""
    return lambda: os.sched_setaffinity(0, cores)


def wait_for(address, process):
    """Waits until `process` listens at `address`."""
    host, port = address.rsplit(":", 1)
    ends = time.monotonic() + START_TIMEOUT
    while True:
        if process.poll() is not None:
            raise Refused(f"what was to listen at {address} ended at once")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > ends:
                raise Refused(f"nothing listens at {address}: {error}") from error
            time.sleep(0.05)


def processor_s(pid):
    """Processor time of all threads of a process so far, user and system, in seconds."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Node:
    """A node that runs; ended with its `with` block.

    Without `command` it is phix-node with keys of its own in a temporary directory. Otherwise it is
    any program that takes packets of the Nym wire protocol at `address` for the Sphinx key `key`.
    """

    def __init__(
        self, programs, cores, settings=(), command=None, address=None, key=None, noise=False
    ):
        self.cores, self.place = set(cores), Path(tempfile.mkdtemp(prefix="phix-perf-"))
        self.process = None
        # What the tester needs to speak Noise with it.
        self.noise = []
        # Where a phix-node shows its metrics; another node's are not known.
        self.metrics = None
        try:
            if command is None:
                self.address = f"127.0.0.1:{free_port()}"
                self.metrics = f"127.0.0.1:{free_port()}"
                settings = [*settings, "--metrics", self.metrics]
                if noise:
                    settings = [*settings, *self._tell_of_the_tester(programs / "phix-client")]
                command = self._make_phix(programs / "phix-node", settings)
            else:
                if not address or not key:
                    raise Refused("a node command needs its address and its Sphinx key as well")
                self.address, self.key = address, key
            self._start(command)
        except BaseException:
            self.close()
            raise

    def _make_phix(self, program, settings):
        place = str(self.place / "node")
        init = [program, "init", "--dir", place, "--listen", self.address]
        self._ask(init)
        table = self._ask([program, "check-config", "--dir", place, *settings])
        self.key = re.search(r"^sphinx key\s+(\S+)", table, re.M).group(1)
        if self.noise:
            noise_key = re.search(r"^noise key\s+(\S+)", table, re.M).group(1)
            self.noise += ["--node-noise-key", noise_key]
        return [program, "run", "--dir", place, *settings]

    def _tell_of_the_tester(self, program):
        """Settings with which the node speaks Noise with the tester, and with nobody else."""
        key, peers = self.place / "tester.key", self.place / "noise-peers.toml"
        made = self._ask([program, "keygen", "--noise", key])
        public = re.search(r"^public key: (\S+)", made, re.M).group(1)
        peers.write_text(f'"127.0.0.1" = "{public}"\n', encoding="ascii")
        self.noise = ["--noise", "--noise-key", str(key)]
        return ["--noise", "required", "--noise-peers", str(peers)]

    @staticmethod
    def _ask(command):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise Refused(ended.stderr.strip() or ended.stdout.strip())
        return ended.stdout

    def _start(self, command):
        self.log = open(self.place / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, preexec_fn=pinned(self.cores)
        )
        try:
            wait_for(self.address, self.process)
        except Refused as refused:
            self.log.seek(0)
            raise Refused(f"{refused}: {self.log.read().strip()}") from None

    def target(self):
        """What the tester is told of it."""
        return ["--node", self.address, "--key", self.key, *self.noise]

    def cpu_s(self):
        return processor_s(self.process.pid)

    def resident_mib(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M).group(1)) / 1024

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tester:
    """`phix-client load` on a core of its own."""

    def __init__(self, programs, core, extra=()):
        self.program, self.core, self.extra = programs / "phix-client", core, list(extra)

    def run(self, node, **options):
        """Offers a load to `node`; what the tester reports, and the node's processor time.

        Options are those of the program with `_` for `-`; true stands for an option without value.
        """
        with tempfile.TemporaryDirectory(prefix="phix-perf-") as place:
            report = Path(place) / "report.json"
            command = [self.program, "load", *node.target()]
            command += ["--cpu", str(self.core), "--json", str(report), *self.extra]
            for name, value in options.items():
                command.append("--" + name.replace("_", "-"))
                if value is not True:
                    command.append(str(value))
            before = node.cpu_s()
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            used = node.cpu_s() - before
            if ended.returncode not in (0, 1) or not report.exists():
                raise Refused(ended.stderr.strip().splitlines()[-1])
            return json.loads(report.read_text(encoding="utf-8")), used

    def find_max(self, node, **options):
        """The highest rate without loss, and every trial."""
        report, _ = self.run(node, find_max=True, **options)
        if report["max_rate"] is None:
            raise Refused("the node lost packets at every rate that was tried")
        return report["max_rate"], report

    def measure(self, node, rate, **options):
        """One run at a fixed rate: its result with `cpu_us_per_packet` added."""
        report, used = self.run(node, rate=rate, **options)
        result = report["result"]
        if result["intact"] == 0:
            raise Refused("no packet came back; see that the key is the node's")
        result["cpu_us_per_packet"] = used * 1e6 / result["intact"]
        result["environment"] = report["environment"]
        return result


def cores():
    """The core of the tester and those of the node, of the cores that this program may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Refused("a node and its tester need two cores; this program may use one")
    return allowed[0], allowed[1:]


def node_settings(shards, arguments):
    """Settings of a phix-node under test; what the person adds wins."""
    settings = ["--shards", str(shards), "--status-interval", "off"]
    return settings + shlex.split(arguments or "")


def noise_argument(parser):
    parser.add_argument("--noise", action="store_true", help="inside Noise, both ways")


def transport(options):
    """How packets travel, for titles."""
    return "inside Noise both ways" if options.noise else "plain TCP"


def main(run, parser, tables=True):
    """Runs a command; a refusal is a sentence and exit code 2."""
    if tables:
        parser.add_argument("--json", metavar="FILE", help="write everything to this file")
        parser.add_argument("--markdown", metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--programs", metavar="DIR", type=Path, help="programs that are built")
    arguments = parser.parse_args()
    try:
        arguments.programs = arguments.programs or build()
        sys.exit(run(arguments) or 0)
    except Refused as sentence:
        print(f"{parser.prog}: {sentence}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
