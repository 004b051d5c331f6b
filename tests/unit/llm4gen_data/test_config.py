from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llm4gen_data.config import flatten, load_config, read_yaml, to_plain
from llm4gen_data.errors import UsageError


@dataclass(frozen=True, slots=True)
class Inner:
    max_tokens: int = 8
    top_p: float = 1.0
    learning_rate: float = 0.1


@dataclass(frozen=True, slots=True)
class Outer:
    source: str
    inner: Inner = field(default_factory=Inner)
    model: str | None = None


def test_flags_win_over_sets_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("source: a\ninner: {max_tokens: 1, top_p: 0.5}\nmodel: m1\n")
    config = load_config(Outer, file, ["inner.max_tokens=2", "model=m2"], {"model": "m3", "source": None})
    assert config == Outer("a", Inner(2, 0.5), "m3")


def test_round_trip_through_plain_values() -> None:
    config = Outer("a", Inner(3))
    assert load_config(Outer, flags=to_plain(config)) == config
    assert flatten(to_plain(config)) == {
        "source": "a",
        "inner.max_tokens": 3,
        "inner.top_p": 1.0,
        "inner.learning_rate": 0.1,
        "model": None,
    }


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["sourec=a"], "unknown key sourec; did you mean source?"),
        (["source=a", "inner.max_tokenz=3"], "unknown key inner.max_tokenz; did you mean inner.max_tokens?"),
        (["source=a", "inner.lr=3"], "unknown key inner.lr; did you mean inner.learning_rate?"),
        (["source=a", "inner.tokens=3"], "unknown key inner.tokens; did you mean inner.max_tokens?"),
        (["source=a", "zzz=3"], "unknown key zzz; known keys: inner, model, source"),
        (["source=a", "inner.max_tokens=many"], "inner.max_tokens = 'many'"),
        (["source=a", "inner"], "expected key=value"),
        (["source=a", "source.b=1"], "holds the value 'a'"),
        (["source=a", "model=[1"], "not YAML"),
        ([], "source"),
    ],
)
def test_mistakes_name_the_key(sets: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config(Outer, None, sets)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        load_config(Outer, file)
    with pytest.raises(UsageError, match=r"none\.yaml"):
        load_config(Outer, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("-1E5", -1e5),
        (".5e+2", 50.0),
        ("2.e3", 2e3),
        ("1.5e-3", 1.5e-3),
        ("12", 12),
        ("e5", "e5"),
        ("1e", "1e"),
    ],
)
def test_numbers_with_an_exponent_need_no_dot(text: str, value: object) -> None:
    read = read_yaml(f"options: {{lr: {text}}}")["options"]["lr"]
    assert read == value
    assert type(read) is type(value)
