"""The files of a source, on a local disk or behind any URL that fsspec opens (s3://, gs://, hf://, http://, ...)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from llm4gen_data.errors import UserError

# A web server has no listing that one could trust: behind these stands one file.
SINGLE_FILE_SCHEMES = ("http", "https")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """One file: `name` is its path below the source, `size` in bytes; `filesystem` is None on the local disk."""

    path: str
    name: str
    size: int
    filesystem: Any = None

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, `.parquet`."""
        return PurePosixPath(self.name).suffix.lower()

    def open(self) -> BinaryIO:
        """The file for reading; a remote one is fetched in pieces as they are asked for. Raises OSError."""
        if self.filesystem is None:
            return Path(self.path).open("rb")
        return io.BufferedReader(_RemoteFile(self.filesystem, self.path))

    def read(self, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` on. Raises OSError."""
        with self.open() as file:
            file.seek(start)
            return file.read(size)

    def sibling(self, name: str) -> File | None:
        """The file `name` in the same folder, None if there is none."""
        path = str(PurePosixPath(self.path).with_name(name))
        try:
            size = Path(path).stat().st_size if self.filesystem is None else self.filesystem.size(path)
        except OSError:
            return None
        return File(path, str(PurePosixPath(self.name).with_name(name)), size or 0, self.filesystem)

    def __str__(self) -> str:
        return self.path if self.filesystem is None else str(self.filesystem.unstrip_protocol(self.path))


class _RemoteFile(io.RawIOBase):
    """A remote file that fails as a local one does: with OSError, whatever its file system raises."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._file = _ask(filesystem.open, path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(_ask(self._file.seek, offset, whence))

    def readinto(self, buffer: Any) -> int:
        data: bytes = _ask(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _ask(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    except OSError:
        raise
    except Exception as error:  # a server's answer, a library's own class, missing credentials, ...
        raise OSError(f"{type(error).__name__}: {error}") from error


def is_url(location: str) -> bool:
    """Whether a location is opened through fsspec; `file://` and plain paths are not."""
    return "://" in location and not location.startswith("file://")


def local_path(location: str) -> Path:
    """The path that a plain path or a `file://` URL stands for."""
    return Path(url2pathname(urlsplit(location).path) if location.startswith("file://") else location)


def list_files(location: str, max_depth: int | None = None) -> Iterator[File]:
    """Every file at or below `location`, in no particular order; names that begin with a dot are left out.

    `max_depth` 1 stays in the folder itself. Raises UserError for what does not exist or cannot be listed.
    """
    return _remote_files(location, max_depth) if is_url(location) else _local_files(local_path(location), max_depth)


def _local_files(root: Path, max_depth: int | None) -> Iterator[File]:
    if root.is_file():
        yield File(str(root), root.name, root.stat().st_size)
    elif root.is_dir():
        yield from _walk(str(root), "", max_depth)
    else:
        raise UserError(f"{root}: no such file or folder")


def _walk(folder: str, prefix: str, max_depth: int | None) -> Iterator[File]:
    try:
        entries = os.scandir(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed: {error.strerror}") from error
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                yield File(entry.path, prefix + entry.name, entry.stat().st_size)
            elif max_depth != 1 and entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{prefix}{entry.name}/", None if max_depth is None else max_depth - 1)


def _remote_files(location: str, max_depth: int | None) -> Iterator[File]:
    import fsspec  # type: ignore[import-untyped]

    try:
        filesystem, root = fsspec.url_to_fs(location)
        if location.startswith(SINGLE_FILE_SCHEMES) or filesystem.isfile(root):
            name = PurePosixPath(urlsplit(location).path).name
            yield File(root, name, filesystem.size(root) or 0, filesystem)
            return
        n_found = 0
        for folder, _, entries in filesystem.walk(root, maxdepth=max_depth, detail=True):
            prefix = folder.removeprefix(root).strip("/")
            if any(part.startswith(".") for part in prefix.split("/")):
                continue
            for name, entry in entries.items():
                if name and not name.startswith("."):
                    n_found += 1
                    yield File(entry["name"], f"{prefix}/{name}".lstrip("/"), entry["size"] or 0, filesystem)
    except (ImportError, ValueError) as error:  # a file system that is not installed, or not known
        raise UserError(f"{location}: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{location}: no such file or folder") from error
    except Exception as error:  # each file system has errors of its own: no credentials, no such bucket, ...
        raise UserError(f"{location}: cannot be listed: {type(error).__name__}: {error}") from error
    if not n_found and not filesystem.exists(root):
        raise UserError(f"{location}: no such file or folder")
