"""A peer that sends every byte of a connection on to one address, as it came, and what is answered
back.

`python3 -m phixperf.reflector PORT HOST:PORT` listens on the first and sends to the second.
"""

import socket
import sys
import threading

CHUNK = 256 * 1024


def carry(source, sink):
    buffer = memoryview(bytearray(CHUNK))
    try:
        while length := source.recv_into(buffer):
            sink.sendall(buffer[:length])
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other direction has ended the connection.
        pass


def reflect(inbound, home):
    try:
        outbound = socket.create_connection(home)
    except ConnectionRefusedError:
        # Somebody only looked whether this listens.
        return inbound.close()
    with inbound, outbound:
        for end in (inbound, outbound):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=carry, args=(outbound, inbound), daemon=True)
        back.start()
        carry(inbound, outbound)
        back.join()


def main(port, home):
    host, home_port = home.rsplit(":", 1)
    with socket.create_server(("127.0.0.1", int(port)), backlog=64) as listener:
        while True:
            inbound, _ = listener.accept()
            arguments = (inbound, (host, int(home_port)))
            threading.Thread(target=reflect, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
