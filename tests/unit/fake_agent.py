#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for an agent: fake_agent.py FOLDER

Listens on FOLDER/.agent.sock. GET NAME answers with the file FOLDER/NAME; each PUT is written down in
FOLDER/said, and is refused if it names "nobody"; of "later" there is something to say.
"""
import http.server
import os
import socketserver
import sys

FOLDER = sys.argv[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return ""

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.removeprefix("/api/v1/").split("?")[0]
        with open(os.path.join(FOLDER, name), "rb") as f:
            self.answer(200, f.read())

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(os.path.join(FOLDER, "said"), "a", encoding="utf-8") as f:
            print(self.path, body, file=f)
        if "nobody" in body:
            self.answer(404, b'["the request cannot be done", "there is no VM nobody"]')
        elif "later" in body:
            self.answer(200, b'["memory is another from the next start on"]')
        else:
            self.answer(204, b"")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


Server(os.path.join(FOLDER, ".agent.sock"), Handler).serve_forever()
