"""A peer that sends every byte of a connection on to one address, as it came.

`python3 -m phixperf.reflector PORT HOST:PORT` listens on the first and sends to the second.
"""

import socket
import sys
import threading

CHUNK = 256 * 1024


def reflect(inbound, home):
    buffer = memoryview(bytearray(CHUNK))
    try:
        outbound = socket.create_connection(home)
    except ConnectionRefusedError:
        # Somebody only looked whether this listens.
        return inbound.close()
    with inbound, outbound:
        outbound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while length := inbound.recv_into(buffer):
            outbound.sendall(buffer[:length])


def main(port, home):
    host, home_port = home.rsplit(":", 1)
    with socket.create_server(("127.0.0.1", int(port)), backlog=64) as listener:
        while True:
            inbound, _ = listener.accept()
            arguments = (inbound, (host, int(home_port)))
            threading.Thread(target=reflect, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
