"""The scene reader against the truth, by the command that users run."""

from tests.commands import run

N = 200
KINDS = ("object", "shape", "color", "texture", "size", "relation", "background")
N_CONDITIONS = 3  # as drawn, JPEG quality 75, blur of one pixel


def test_every_fact_is_read_back_at_98_percent_or_better() -> None:
    result = run("llm4gen-bench", "calibrate", "--n", N)
    assert result.returncode == 0, result.stderr
    print("\n" + result.stdout)
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[2:]}
    assert set(rows) == set(KINDS)
    for kind, cells in rows.items():
        shares = [float(cell.rstrip("%")) for cell in cells[::3]]
        assert len(shares) == N_CONDITIONS
        assert min(shares) >= 98.0, f"{kind}: {shares}"
