"""A web server and an echo on loopback, and connections to them through SOCKS5."""

import http.client
import http.server
import socket
import socketserver
import struct
import threading

# Longest silence of a connection, in seconds.
SILENCE = 120


def pattern(size):
    """Bytes that say where they belong: what is lost, doubled or out of order is seen."""
    return b"".join(struct.pack(">Q", number) for number in range((size + 7) // 8))[:size]


class Page(http.server.BaseHTTPRequestHandler):
    """`GET /SIZE` answers with so many bytes, `POST` with how many of the pattern came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(pattern(int(self.path.strip("/"))))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(str(len(body) if body == pattern(len(body)) else -1).encode())

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self):
        while part := self.request.recv(65536):
            self.request.sendall(part)


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Origin:
    """Both servers, each on a port of its own; ended with its `with` block."""

    def __init__(self):
        place = ("127.0.0.1", 0)
        self.servers = [http.server.ThreadingHTTPServer(place, Page), _EchoServer(place, Echo)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.web, self.echo = (server.server_address for server in self.servers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def exactly(stream, size):
    """So many bytes of a stream."""
    parts = []
    while size > 0:
        part = stream.recv(min(size, 1 << 16))
        if not part:
            raise ConnectionError("the proxy ended the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def through(proxy, target):
    """A connection to `target` through the SOCKS5 server at `proxy` (RFC 1928)."""
    stream = socket.create_connection(proxy, timeout=SILENCE)
    try:
        stream.sendall(b"\x05\x01\x00")
        if exactly(stream, 2) != b"\x05\x00":
            raise ConnectionError("the proxy wants a login")
        host, port = target
        stream.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack(">H", port))
        _, reply, _, kind = exactly(stream, 4)
        exactly(stream, {1: 4, 4: 16}[kind] + 2)
        if reply != 0:
            raise ConnectionError(f"the proxy refuses the connection with {reply}")
    except BaseException:
        stream.close()
        raise
    return stream


class Web:
    """A connection to the web server through a proxy, kept for many requests."""

    def __init__(self, proxy, target):
        self.connection = http.client.HTTPConnection(*target)
        self.connection.sock = through(proxy, target)

    def get(self, size):
        self.connection.request("GET", f"/{size}")
        if self.connection.getresponse().read() != pattern(size):
            raise ConnectionError(f"{size} bytes came back damaged")

    def post(self, size):
        self.connection.request("POST", "/", pattern(size))
        if int(self.connection.getresponse().read()) != size:
            raise ConnectionError(f"{size} bytes arrived damaged")

    def close(self):
        self.connection.close()
