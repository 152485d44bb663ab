"""An app on the given port, to be directed from outside. After the port: what it does when it is
asked to end, `polite` (status 3) or `stubborn` (nothing); neither: it dies of it.

GET /events   an event stream: one event for each POST /emit
POST /emit    sends its body as an event to every stream
GET /pid      the number of this process
POST /exit    ends it with the status in its body
"""

import http.server
import os
import queue
import signal
import sys

streams = []


class Stage(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/events":
            self.events()
        else:
            self.answer(str(os.getpid()))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/exit":
            os._exit(int(body))
        for stream in streams:
            stream.put(body)
        self.answer("sent")

    def events(self):
        stream = queue.Queue()
        streams.append(stream)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        while True:
            self.wfile.write(f"data: {stream.get()}\n\n".encode())
            self.wfile.flush()

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


if "polite" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stage)
print(server.server_address[1], flush=True)
server.serve_forever()
