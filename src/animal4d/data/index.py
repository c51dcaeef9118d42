"""COP3D's index as a file: the paths it names, and the same index with fewer sequences."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from animal4d.errors import Animal4dError

_TABLES = ("frame_annots", "sequence_annots")
_FRAME_PATHS = ("_image_path", "_mask_path", "_depth_path", "_depth_mask_path")
_SEQUENCE_PATHS = ("_video_path", "_point_cloud_path")
_VERSION_BYTES = slice(96, 100)
"""Of the file header: which SQLite wrote last. Readers do not need it."""


def indexed_paths(database: Path, sequence: str) -> list[str]:
    """All paths that the index names for a sequence, relative to its folder; their files may not be there.

    Raises Animal4dError where the index cannot be read.
    """
    found: set[str] = set()
    with closing(_opened(database)) as connection:
        for table, wanted in (("frame_annots", _FRAME_PATHS), ("sequence_annots", _SEQUENCE_PATHS)):
            columns = [column for column in _columns(connection, database, table) if column in wanted]
            for row in _rows(connection, database, table, columns, [sequence]):
                found.update(value for value in row if isinstance(value, str) and value)
    return sorted(found)


def cut_index(database: Path, sequences: Sequence[str]) -> bytes:
    """The content of an index that holds only the given sequences: same tables, columns and indexes.

    The same rows give the same bytes, in whatever order they stand in the original. Raises Animal4dError where the
    index cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="animal4d-") as folder, closing(_opened(database)) as source:
        path = Path(folder) / "index.sqlite"
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as target:
                target.execute("PRAGMA page_size = 4096")
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("BEGIN")
                for table in _TABLES:
                    _copy_table(source, target, database, table, sequences)
                target.execute("COMMIT")
        except sqlite3.Error as error:
            raise Animal4dError(
                f"{database}: cannot be cut down ({error}): download the index again, or free space in {folder}"
            ) from error
        content = bytearray(path.read_bytes())
    content[_VERSION_BYTES] = bytes(4)
    return bytes(content)


def _copy_table(
    source: sqlite3.Connection, target: sqlite3.Connection, database: Path, table: str, sequences: Sequence[str]
) -> None:
    columns = _columns(source, database, table)
    definitions = source.execute(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL AND type IN ('table', 'index') "
        "ORDER BY type DESC, name",
        (table,),
    ).fetchall()
    for kind, sql in definitions:
        # A virtual table would run code of an extension.
        allowed = ("CREATE TABLE",) if kind == "table" else ("CREATE INDEX", "CREATE UNIQUE INDEX")
        if not sql.upper().startswith(allowed):
            raise Animal4dError(f"{database}: {table} is not an ordinary table: download the index again")
        target.execute(sql)
    places = ", ".join("?" * len(columns))
    target.executemany(f"INSERT INTO {table} VALUES ({places})", _rows(source, database, table, columns, sequences))


def _opened(database: Path) -> sqlite3.Connection:
    if not database.is_file():
        raise Animal4dError(f"no COP3D index at {database}: give the folder that holds cop3d_data")
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)


def _columns(connection: sqlite3.Connection, database: Path, table: str) -> list[str]:
    try:
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
    except sqlite3.Error as error:
        raise _damaged(database, table, error) from error
    if "sequence_name" not in columns:
        raise Animal4dError(f"{database} has no table {table} of COP3D: download the index again")
    return columns


def _rows(
    connection: sqlite3.Connection, database: Path, table: str, columns: Sequence[str], sequences: Sequence[str]
) -> list[tuple[Any, ...]]:
    """Rows of some sequences, by sequence and frame number."""
    if not columns:
        return []
    order = "sequence_name, frame_number" if table == "frame_annots" else "sequence_name"
    names = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    rows: list[tuple[Any, ...]] = []
    try:
        for sequence in sorted(set(sequences)):
            query = f"SELECT {names} FROM {table} WHERE sequence_name = ? ORDER BY {order}"
            rows += connection.execute(query, (sequence,)).fetchall()
    except (sqlite3.Error, UnicodeError) as error:
        raise _damaged(database, table, error) from error
    return rows


def _damaged(database: Path, table: str, error: Exception) -> Animal4dError:
    return Animal4dError(f"{database}, table {table}: damaged ({error}): download the index again")
