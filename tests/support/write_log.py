"""The writes and flushes of a journal in their order, and what a power cut leaves of them.

SQLite's own writes are recorded by a VFS around its default one; see sqlite.org/vfs.html for the
two structures whose entries are replaced.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECTOR = 512
"""Bytes that reach a disk together or not at all."""
POINTER = ctypes.sizeof(ctypes.c_void_p)
VFS_SIZE, VFS_NAME, VFS_OPEN, VFS_DELETE = 22 * POINTER, 3 * POINTER, 5 * POINTER, 6 * POINTER
METHODS_SIZE, WRITE, TRUNCATE, SYNC = 19 * POINTER, 3 * POINTER, 4 * POINTER, 5 * POINTER

FOLDER = ""
"""Stands for the folder of the files."""

pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
Open = ctypes.CFUNCTYPE(integer, pointer, pointer, pointer, integer, pointer)
Delete = ctypes.CFUNCTYPE(integer, pointer, pointer, integer)
Write = ctypes.CFUNCTYPE(integer, pointer, pointer, integer, long)
Truncate = ctypes.CFUNCTYPE(integer, pointer, long)
Sync = ctypes.CFUNCTYPE(integer, pointer, integer)


@dataclass(frozen=True)
class Operation:
    """A write (data at `at`), a truncation to `at` (no data), or a flush (at -1) of a file.

    gone: the file is removed, which the flush of its folder makes certain (`FOLDER`).
    """

    file: str
    at: int = -1
    data: bytes | None = None
    gone: bool = False

    @property
    def flushes(self) -> bool:
        """Whether everything before it reaches the disk."""
        return self.at < 0


class WriteLog:
    """Operations of the files of a folder, in order."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._names: dict[int, str] = {}
        self._kept: dict[int, Any] = {}
        self._callbacks: list[Any] = []
        self._sqlite = ctypes.CDLL(_sqlite3.__file__)
        self.possible = hasattr(self._sqlite, "sqlite3_vfs_find")
        """False if Python's SQLite is not a shared library."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what SQLite's connections write that are opened within."""
        find = self._sqlite.sqlite3_vfs_find
        find.restype = pointer
        default = find(None)
        shim = ctypes.create_string_buffer(ctypes.string_at(default, VFS_SIZE))
        shim_at, name = ctypes.addressof(shim), ctypes.create_string_buffer(b"recorded")
        original, remove = Open(_entry(default, VFS_OPEN)), Delete(_entry(default, VFS_DELETE))

        def opened(_vfs: int, path: int, file: int, flags: int, out: int) -> int:
            code = original(default, path, file, flags, out)
            if code == 0 and path:
                self._names[file] = _name(path)
                _set_entry(file, 0, self._recorded(_entry(file, 0)))
            return int(code)

        def removed(_vfs: int, path: int, flush: int) -> int:
            code = int(remove(default, path, flush))
            if code == 0:
                self.operations.append(Operation(_name(path), 0, gone=True))
            if code == 0 and flush:
                self.operations.append(Operation(FOLDER))
            return code

        keep, keep_too = Open(opened), Delete(removed)
        _set_entry(shim_at, VFS_NAME, ctypes.addressof(name))
        _set_entry(shim_at, VFS_OPEN, _address(keep))
        _set_entry(shim_at, VFS_DELETE, _address(keep_too))
        self._sqlite.sqlite3_vfs_register(pointer(shim_at), 1)
        try:
            yield
        finally:
            self._sqlite.sqlite3_vfs_register(pointer(default), 1)
            self._sqlite.sqlite3_vfs_unregister(pointer(shim_at))

    def _recorded(self, methods: int) -> int:
        """A copy of these file methods that records before it calls them."""
        if methods not in self._kept:
            copy = ctypes.create_string_buffer(ctypes.string_at(methods, METHODS_SIZE))
            write = Write(_entry(methods, WRITE))
            truncate = Truncate(_entry(methods, TRUNCATE))
            sync = Sync(_entry(methods, SYNC))

            def written(file: int, data: int, count: int, at: int) -> int:
                name = self._names[file]
                self.operations.append(Operation(name, at, ctypes.string_at(data, count)))
                return int(write(file, data, count, at))

            def cut(file: int, size: int) -> int:
                self.operations.append(Operation(self._names[file], size))
                return int(truncate(file, size))

            def flushed(file: int, flags: int) -> int:
                code = int(sync(file, flags))
                self.operations.append(Operation(self._names[file]))
                return code

            callbacks = (Write(written), Truncate(cut), Sync(flushed))
            for offset, each in zip((WRITE, TRUNCATE, SYNC), callbacks, strict=True):
                _set_entry(ctypes.addressof(copy), offset, _address(each))
            self._callbacks.extend(callbacks)
            self._kept[methods] = copy
        return ctypes.addressof(self._kept[methods])


def after_power_cut(operations: list[Operation], draws: random.Random) -> dict[str, bytes]:
    """Files as a power cut after these operations may leave them.

    What was flushed is there. Of everything later each sector is written or not, in no order.
    """
    last = {each.file: at for at, each in enumerate(operations) if each.flushes}
    share = draws.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    files: dict[str, bytearray] = {}
    for at, each in enumerate(operations):
        certain = at < last.get(FOLDER if each.gone else each.file, -1)
        if each.flushes:
            continue
        file = files.setdefault(each.file, bytearray())
        if each.data is None:
            if certain or draws.random() < share:
                del file[each.at :]
                if each.gone:
                    del files[each.file]
            continue
        for start, piece in _sectors(each.at, each.data):
            if certain or draws.random() < share:
                file.extend(bytes(max(0, start - len(file))))
                file[start : start + len(piece)] = piece
    return {name: bytes(file) for name, file in files.items()}


def _sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The pieces of a write that lie in one sector each."""
    done = 0
    while done < len(data):
        count = SECTOR - (at + done) % SECTOR
        yield at + done, data[done : done + count]
        done += count


def _name(path: int) -> str:
    """Name of the file whose path lies there."""
    return Path(os.fsdecode(ctypes.string_at(path))).name


def _entry(structure: int, offset: int) -> int:
    return int(pointer.from_address(structure + offset).value or 0)


def _set_entry(structure: int, offset: int, value: int) -> None:
    pointer.from_address(structure + offset).value = value


def _address(function: Any) -> int:
    return int(ctypes.cast(function, pointer).value or 0)
