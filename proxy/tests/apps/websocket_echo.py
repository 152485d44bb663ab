"""A WebSocket echo (RFC 6455) in nothing but the standard library. Prints its port."""

import base64
import hashlib
import socketserver
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        fields = {}
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        key = fields.get(b"sec-websocket-key")
        if fields.get(b"upgrade", b"").lower() != b"websocket" or key is None:
            self.wfile.write(b"HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while self.frame():
            pass

    def frame(self):
        first, second = self.rfile.read(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", self.rfile.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.rfile.read(8))
        mask = self.rfile.read(4)
        masked = self.rfile.read(length)
        key = int.from_bytes(mask * (length // 4 + 1), "big") >> 8 * ((4 - length % 4))
        data = (int.from_bytes(masked, "big") ^ key).to_bytes(length, "big")
        kind = first & 15
        self.send(PONG if kind == PING else kind, data)
        return kind != CLOSE

    def send(self, kind, data):
        length = len(data)
        if length < 126:
            size = struct.pack(">B", length)
        elif length < 65536:
            size = struct.pack(">BH", 126, length)
        else:
            size = struct.pack(">BQ", 127, length)
        self.wfile.write(bytes([128 | kind]) + size + data)


with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
