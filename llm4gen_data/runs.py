"""A run is a directory: resolved config, fingerprint, shard markers, and a manifest whose existence means complete.

Layout: `config.yaml`, `fingerprint.json`, `shards/00000.parquet` + `00000.json` (marker), `manifest.json` (last).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm4gen_data.config import flatten
from llm4gen_data.errors import UserError

SCHEMA_VERSION = 1


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file in the same folder that becomes `path` when the block ends, durable before it is visible."""
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` if it is not there. Raises UserError if nothing can be written into it."""
    probe = folder / f".tmp-{uuid.uuid4().hex[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = "is a file, expected a folder" if folder.is_file() else f"cannot be written to: {error.strerror}"
        raise UserError(f"{folder}: {why}") from error


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that this project wrote. Raises UserError if the file is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_hash(fingerprint: Mapping[str, Any]) -> str:
    """Sixteen hex digits that stand for everything that can change a run's output."""
    canonical = json.dumps(fingerprint, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@contextlib.contextmanager
def open_run(
    out: Path, command: str, config: Mapping[str, Any], fingerprint: Mapping[str, Any], *, shared: bool = False
) -> Iterator[None]:
    """Hold `out` as this command's run directory: make it, or take it up again where it stopped.

    `config` is written for people, `fingerprint` decides: what is not in it (batch size, workers) may differ
    between starts. With `shared`, other processes may hold it as well, if they say so too. Raises UserError if the
    folder belongs to something else, if the fingerprint changed (with a diff), or while another process works in it.
    """
    fingerprint = json.loads(json.dumps({"command": command, **fingerprint}))
    if out.is_dir() and not (out / "fingerprint.json").exists():
        # all that a start killed before its fingerprint was written leaves behind
        strange = [path for path in out.iterdir() if not path.name.startswith((".lock", ".start", ".tmp-"))]
        # looked for again: a process that shares the run may just have begun it
        if strange and not (out / "fingerprint.json").exists():
            raise UserError(f"{out}: holds files but no run of llm4gen; give an empty or new folder")
    make_folder(out)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{out}: another process is working in this run") from error
        with (out / ".start").open("w") as start:
            fcntl.flock(start, fcntl.LOCK_EX)  # of those that share it, one writes first and the others compare
            _begin_run(out, config, fingerprint, shared)
        yield


def _begin_run(out: Path, config: Mapping[str, Any], fingerprint: Mapping[str, Any], shared: bool) -> None:
    """Compare the fingerprint with the one that is there, or write it; write the configuration."""
    import yaml

    known = out / "fingerprint.json"
    if known.exists():
        if command_of(out) != fingerprint["command"]:
            raise UserError(
                f"{out}: is a run of {command_of(out)!r}, expected a new folder or a run of {fingerprint['command']!r}"
            )
        difference = diff(read_json(known), fingerprint)
        if difference:
            raise UserError(
                f"{out}: was started with another configuration ({'; '.join(difference)}); "
                "use another --out, or the first configuration"
            )
    if not shared:  # else they may be another's, at work
        sweep_temporary_files(out)
    if not known.exists():
        write_json(known, fingerprint)
    write_text(out / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def diff(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two fingerprints, one short phrase a key."""
    old, new = flatten(before), flatten(now)
    return [
        f"{key}: {_short(old.get(key))} -> {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def finish(
    out: Path, command: str, fingerprint: Mapping[str, Any], content: Mapping[str, Any], packages: Sequence[str] = ()
) -> None:
    """Write `manifest.json`, the last file of a run: who made it, `content`, and the versions of `packages`."""
    started_at = datetime.fromtimestamp((out / "fingerprint.json").stat().st_mtime, UTC)
    write_json(
        out / "manifest.json",
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "run_id": fingerprint_hash(fingerprint),
            "fingerprint": fingerprint,
            "started_at": started_at.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **content,
            "versions": package_versions(*packages),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        },
    )


def is_complete(out: Path) -> bool:
    """Whether the run in `out` is finished."""
    return (out / "manifest.json").exists()


def command_of(folder: Path) -> str | None:
    """The command that works in the run directory `folder`; None if it is none. Raises UserError for a damaged one."""
    file = folder / "fingerprint.json"
    known = read_json(file) if file.is_file() else None
    command: str | None = known.get("command") if isinstance(known, dict) else None
    return command


def package_versions(*names: str) -> dict[str, str]:
    """Versions of the named distributions, those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("llm4gen", *names):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def sweep_temporary_files(out: Path) -> None:
    """Remove what a killed process left half-written."""
    for folder in (out, out / "shards", out / "data"):
        for leftover in folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
