"""YAML file + `--set key=value` + flags -> one frozen dataclass, every key checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from llm4gen_data.errors import UsageError

T = TypeVar("T")

# what people write for a key whose name is not spelled alike
SHORT_NAMES = {"lr": "learning_rate", "wd": "adam_weight_decay"}


def load_config(
    cls: type[T],
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
) -> T:
    """The dataclass `cls` from its own defaults, then `defaults`, `file`, `key=value` strings in `sets`, and `flags`.

    Dots in a key go into nested dataclasses; a flag that is None was not given. Values in `sets` are read as
    YAML. Raises UsageError naming the key and what was expected, also for unknown keys.
    """
    import yaml

    values: dict[str, Any] = {}
    origin = "configuration"
    if file is not None:
        origin = str(file)
        try:
            loaded = read_yaml(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: cannot be read: {error}") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise UsageError(f"{file}: expected a mapping of keys, found {type(loaded).__name__}")
        values = loaded or {}
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item!r}: expected key=value")
        try:
            _put(values, key, read_yaml(text))
        except yaml.YAMLError as error:
            raise UsageError(f"--set {item!r}: the value is not YAML") from error
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, key, value)
    _refuse_unknown_keys(cls, values, origin)
    values = _merge(defaults or {}, values)
    return _validate(cls, values, origin)


def read_yaml(text: str) -> Any:
    """Plain data of YAML 1.1, but for numbers such as 3e-4, which are text there and numbers in YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    number = re.compile(r"[-+]?(\d+\.?|\d*\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return yaml.load(text, Loader)


def to_plain(config: Any) -> dict[str, Any]:
    """The dataclass as nested dicts of YAML and JSON values."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged key by key; `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _put(values: dict[str, Any], dotted_key: str, value: Any) -> None:
    *parents, last = dotted_key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{dotted_key}: {parent!r} holds the value {inner!r}, not further keys")
        values = inner
    values[last] = value


def _refuse_unknown_keys(cls: Any, values: Mapping[str, Any], origin: str, prefix: str = "") -> None:
    import typing

    types = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in names:
            close = [f"{prefix}{name}" for name in _close_names(str(key), names)]
            hint = (
                f"did you mean {'one of ' * (len(close) > 1)}{', '.join(close)}?"
                if close
                else f"known keys: {', '.join(sorted(names))}"
            )
            raise UsageError(f"{origin}: unknown key {prefix}{key}; {hint}")
        if dataclasses.is_dataclass(types[key]) and isinstance(value, Mapping):
            _refuse_unknown_keys(types[key], value, origin, f"{prefix}{key}.")


def _close_names(key: str, names: Collection[str]) -> list[str]:
    """The names that `key` may stand for: what it is short for, else one spelled alike, else those it is a word of."""
    if SHORT_NAMES.get(key) in names:
        return [SHORT_NAMES[key]]
    return get_close_matches(key, names, n=1) or [name for name in sorted(names) if key in name.split("_")]


def _validate(cls: type[T], values: Mapping[str, Any], origin: str) -> T:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{origin}: {key or cls.__name__} = {first['input']!r}: {message}") from error
