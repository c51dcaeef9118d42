"""Fetching one file over HTTP: what is cut off is taken up again, and what comes is checked before it is used.

Bytes go to a file of their own, `NAME.part`, which an interruption leaves behind for the next try. `NAME.part.tag` says
which version of the file they are from, so that parts of two versions are never joined.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from animal4d import __version__
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_text, writing_errors
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.places import part_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Show = Callable[[str, int, int], None]
"""Told what is under way, and how many bytes of how many are done (of 0 where nobody says how many)."""

_CHUNK = 1 << 20
_SPARE_SPACE = 16 << 20
"""Bytes that stay free on the disk."""
_TIMEOUT_SECONDS = 30
_TRIES = 4
"""In a row without a single new byte."""
_FIRST_WAIT_SECONDS = 1.0
"""Before the second try; each further one waits twice as long."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of servers that may answer later."""
_AGAIN = "run the same command again, it goes on where it stopped"


@dataclass(frozen=True)
class Fetched:
    """A whole file, still under the name of its part."""

    part: Path
    size: int
    sha256: str


class NotThere(Animal4dError):
    """The server does not have the file."""


class _Passing(Exception):
    """A fault of the line or the server that may be over soon."""


def discard(path: Path) -> None:
    """Remove what came of a file so far."""
    for leftover in (part_of(path), _tag_of(path)):
        with suppress(OSError):
            leftover.unlink()


def fetch(url: str, path: Path, size: int | None, sha256: str | None, show: Show | None = None) -> Fetched:
    """Fetch what belongs at `path` into its part. `size` and `sha256` are what it must have, where they are known.

    Raises Animal4dError, in one line, where the server or the line fail, the disk is full, or another file comes;
    NotThere where the server has no such file. Only whole and checked bytes, and those that a broken line left for
    the next try, stay on the disk.
    """
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    resumed = _size_of(part_of(path)) > 0
    fetched = _fetch_whole(url, path, size, sha256, show)
    if sha256 is not None and fetched.sha256 != sha256 and resumed:
        # What an earlier try left may have been of another version.
        discard(path)
        fetched = _fetch_whole(url, path, size, sha256, show)
    if sha256 is not None and fetched.sha256 != sha256:
        discard(path)
        raise Animal4dError(
            f"{url}: another file came than was published (SHA-256 {fetched.sha256[:12]}... instead of "
            f"{sha256[:12]}...); nothing was kept; try again later, or add the file by hand (animal4d weights add FILE)"
        )
    return fetched


def _fetch_whole(url: str, path: Path, size: int | None, sha256: str | None, show: Show | None) -> Fetched:
    """Ask until all bytes are there, or nothing new has come for some tries."""
    part = part_of(path)
    furthest, failures = _size_of(part), 0
    while size is None or _size_of(part) != size:
        try:
            _fetch_rest(url, path, size, sha256, show)
            break
        except _Passing as error:
            reached = _size_of(part)
            failures = 0 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= _TRIES:
                raise Animal4dError(f"{url}: {error}; {_AGAIN}") from error
            time.sleep(_FIRST_WAIT_SECONDS * 2 ** max(failures - 1, 0))
        finally:
            if _size_of(part) == 0:
                discard(path)
    if not part.is_file():
        raise Animal4dError(f"{url}: the server sent nothing; {_by_hand(path)}")
    return Fetched(part, _size_of(part), file_checksum(part))


def _fetch_rest(url: str, path: Path, size: int | None, sha256: str | None, show: Show | None) -> None:
    """One request for what is missing. Raises _Passing where another one may help."""
    part, tag_file = part_of(path), _tag_of(path)
    offset, tag = _size_of(part), _text(tag_file)
    # Bytes of an unknown version are only worth keeping where the sum of the whole will tell.
    if offset and tag is None and sha256 is None:
        offset = 0
    headers = {"User-Agent": f"animal4d/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if tag is not None:
            headers["If-Range"] = tag
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as answer:
            offset, whole = _agreed(url, answer, offset)
            if size is not None and whole is not None and whole != size:
                discard(path)
                raise Animal4dError(
                    f"{url}: the server has another file ({whole} bytes instead of {size}); "
                    "get it by hand, and add it (animal4d weights add FILE)"
                )
            expected = size if size is not None else whole
            _need_space(path, (expected or 0) - offset)
            mode = "r+b" if part.exists() else "wb"
            with _nothing_left_where_writing_fails(path), part.open(mode) as file:
                _alone(file, path)
                _keep_tag(tag_file, answer.headers.get("ETag"))
                file.seek(offset)
                file.truncate()
                _receive(answer, file, path.name, offset, expected, show)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{offset}":
            return  # all of it was there
        raise _status_error(url, error, path) from error
    except urllib.error.URLError as error:
        raise _line_error(url, path, error.reason) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException, socket.gaierror) as error:
        raise _line_error(url, path, error) from error
    if expected is not None and _size_of(part) != expected:
        if _size_of(part) > expected:
            discard(path)
        raise _Passing(f"the connection ended after {_size_of(part)} of {expected} bytes")


def _agreed(url: str, answer: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Place of the first byte that will come, and the size of the whole file where the server says it."""
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise Animal4dError(f"{url}: the server sends another part of the file than was asked for; {_AGAIN}")
        return offset, None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _receive(
    answer: http.client.HTTPResponse, file: BinaryIO, name: str, offset: int, expected: int | None, show: Show | None
) -> None:
    done = offset
    if show is not None:
        show(name, done, expected or 0)
    while chunk := _read(answer):
        file.write(chunk)
        done += len(chunk)
        if show is not None:
            show(name, done, expected or 0)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(f"the connection broke ({_words(error)})") from error


@contextmanager
def _nothing_left_where_writing_fails(path: Path) -> Iterator[None]:
    """Turn errors of writing into one line."""
    try:
        yield
    except OSError:
        discard(path)
        with writing_errors(path):
            raise


def _need_space(path: Path, missing: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if missing + _SPARE_SPACE > free:
        raise Animal4dError(
            f"cannot write {path}: it needs {missing / 1e9:.2f} GB more and {free / 1e9:.2f} GB are free on the disk; "
            "free some, or choose another folder with ANIMAL4D_WEIGHTS"
        )


def _status_error(url: str, error: urllib.error.HTTPError, path: Path) -> Exception:
    """What a refusal of the server means."""
    status = error.code
    error.close()
    if status == 416:
        discard(path)  # the part is longer than the file
        return _Passing("the server has no such part of the file")
    if status in _PASSING:
        return _Passing(f"the server does not answer (HTTP {status})")
    if status in (404, 410):
        return NotThere(f"{url}: the server does not have it (HTTP {status}); {_by_hand(path)}")
    if status in (401, 403):
        return Animal4dError(f"{url}: the server wants you to sign in (HTTP {status}); {_by_hand(path)}")
    return Animal4dError(f"{url}: the server refuses (HTTP {status}); {_by_hand(path)}")


def _line_error(url: str, path: Path, reason: object) -> Exception:
    """What a fault of the line means. A server that cannot be reached at all is not worth waiting for."""
    words = _words(reason)
    if isinstance(reason, (ConnectionRefusedError, socket.gaierror)) or "unreachable" in words:
        return Animal4dError(f"{url}: cannot be reached ({words}); are you offline? {_by_hand(path)}")
    if isinstance(reason, (TimeoutError, ConnectionError, http.client.HTTPException)):
        return _Passing(f"the connection broke ({words})")
    return Animal4dError(f"{url}: cannot be fetched ({words}); {_by_hand(path)}")


def _words(reason: object) -> str:
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)


def _by_hand(path: Path) -> str:
    return (
        f"get {path.name} elsewhere, and add it (animal4d weights add FILE --name {path.parent.name}), or put it "
        f"there: {path}"
    )


def _alone(file: BinaryIO, path: Path) -> None:
    """See to it that no other process writes the part as well, where the system has locks for that."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Animal4dError(f"{path}: is being fetched by another process; wait for it") from error


def _keep_tag(file: Path, tag: str | None) -> None:
    """Note the version that the bytes are of. A weak ETag names only what they mean, and not the bytes."""
    if tag is not None and tag.startswith('"'):
        write_text(file, tag)
    else:
        file.unlink(missing_ok=True)


def _tag_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.tag")


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
