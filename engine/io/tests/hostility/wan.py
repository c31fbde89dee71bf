"""A long and lossy way through a network, for kernels without netem.

Makes the TUN device wan0 with the address HERE. What is sent to THERE comes back from there after a
delay, with both addresses exchanged, so that connections to THERE lead to HERE; some of it is lost.
Exchanging addresses changes no checksum. Ends with its standard input, and prints what it did.
"""

import collections
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

HERE, THERE = sys.argv[1], sys.argv[2]
DELAY, LOSS = float(sys.argv[3]), float(sys.argv[4])
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wan0", IFF_TUN | IFF_NO_PI))
for command in (f"address add {HERE}/24 dev wan0", "link set wan0 txqueuelen 10000 up"):
    subprocess.run(["ip", *command.split()], check=True)
print("ready", flush=True)

there = socket.inet_aton(THERE)
way = collections.deque()
chance = random.Random(1)
passed = lost = 0
going = True
while going:
    wait = max(0.0, way[0][0] - time.monotonic()) if way else None
    readable, _, _ = select.select([tun, sys.stdin], [], [], wait)
    going = sys.stdin not in readable
    now = time.monotonic()
    while tun in readable:
        try:
            packet = os.read(tun, 65536)
        except BlockingIOError:
            break
        if packet[16:20] != there:
            continue
        if chance.random() < LOSS:
            lost += 1
            continue
        way.append((now + DELAY, packet[:12] + packet[16:20] + packet[12:16] + packet[20:]))
    while way and way[0][0] <= now:
        os.write(tun, way.popleft()[1])
        passed += 1
print(passed, lost, flush=True)
