from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.recaption.journal import Journal, Outcome


def filled(path: Path, n: int) -> Journal:
    journal = Journal(path)
    for i in range(n):
        journal.append(i, Outcome("success", caption_raw=f"caption {i}\nwith é and \x00", n_output_tokens=i))
    journal.close()
    return journal


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 20)
    assert Journal(tmp_path / "j").outcomes == journal.outcomes


@given(cut=st.integers(0, 10_000), flip=st.integers(0, 10_000))
def test_any_torn_or_damaged_tail_costs_only_itself(tmp_path_factory: object, cut: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("journal")  # type: ignore[attr-defined]
    path = folder / "j"
    whole = filled(path, 12).outcomes
    data = bytearray(path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    data = data[: len(data) - cut % len(data)]
    position = flip % len(data)
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    survivors = Journal(path)
    n_sound = next(n for n in range(13) if len(b"".join(lines[: n + 1])) > position or n == 12)
    assert survivors.outcomes == {i: whole[i] for i in range(n_sound)}
    survivors.append(99, Outcome("failed_image", "reason"))
    survivors.close()
    assert Journal(path).outcomes == {**survivors.outcomes}
    assert 99 in Journal(path).outcomes
