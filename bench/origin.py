"""A static origin: asked once for each object, it counts how often it was."""

import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZES = {"1k": 1024, "4k": 4096, "64k": 65536}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked[self.path] += 1
        size = SIZES[self.path.rpartition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "public, max-age=86400")
        self.send_header("ETag", f'"{size:x}-5f3c1a"')
        self.send_header("Last-Modified", "Tue, 03 Mar 2026 09:00:00 GMT")
        self.end_headers()
        self.wfile.write(b"x" * size)

    def handle(self):
        try:
            super().handle()
        except ConnectionResetError:
            pass  # a proxy that ends may reset the connection it kept

    def log_message(self, *_):
        pass


@contextmanager
def static():
    """Serves /PREFIX/SIZE on a free port: yields the port and the count of requests by path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.asked = Counter()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, server.asked
        finally:
            server.shutdown()
            thread.join()
