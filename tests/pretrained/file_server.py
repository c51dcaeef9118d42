"""A web server on this machine that serves files well or badly, as a test asks it to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how it is served."""

    data: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    """Whether parts can be asked for."""
    cut_after: list[int] = field(default_factory=list)
    """For the next answers, how many bytes come before the line breaks."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next answers, before the file is served."""
    says_length: bool = True
    asked: list[str | None] = field(default_factory=list)
    """The Range of every request so far."""


class FileServer:
    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, Served] = {}

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


@contextmanager
def serve() -> Iterator[FileServer]:
    served: FileServer | None = None

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert served is not None
            file = served.files.get(self.path.lstrip("/"))
            if file is None:
                self.send_error(404)
                return
            asked = self.headers.get("Range")
            file.asked.append(asked)
            if file.statuses:
                self.send_error(file.statuses.pop(0))
                return
            self.answer(file, asked)

        def answer(self, file: Served, asked: str | None) -> None:
            start = 0
            fresh = self.headers.get("If-Range") in (None, file.etag)
            if asked is not None and file.ranges and fresh:
                match = re.fullmatch(r"bytes=(\d+)-", asked)
                assert match is not None
                start = int(match[1])
                if start >= len(file.data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(file.data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(file.data) - 1}/{len(file.data)}")
            else:
                self.send_response(200)
            body = file.data[start:]
            if file.says_length:
                self.send_header("Content-Length", str(len(body)))
            if file.etag is not None:
                self.send_header("ETag", file.etag)
            self.end_headers()
            self.wfile.write(body[: file.cut_after.pop(0)] if file.cut_after else body)
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served = FileServer(f"http://127.0.0.1:{server.server_port}")
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
