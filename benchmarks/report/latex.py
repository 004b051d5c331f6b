"""Tables as LaTeX (booktabs), to be put into a paper with `\\input`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.tables import Rows

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": r"{[}",  # after a line's end it would be read as the space to leave
    "]": r"{]}",
}


def escape(text: str) -> str:
    """Text as LaTeX prints it; white space becomes single spaces, other control characters go."""
    printable = "".join(char for char in text if char.isprintable() or char.isspace())
    return "".join(SPECIAL.get(char, char) for char in " ".join(printable.split()))


def latex_table(
    blocks: Sequence[tuple[str, Rows]], header: Sequence[str], caption: str, label: str, notes: Sequence[str] = ()
) -> str:
    """A `table` with a booktabs `tabular`: below `header` the `blocks`, each with its title over its rows.

    The first column is set left, all others right; all rows have as many cells as the header. No title for "".
    """
    lines = [
        "% needs \\usepackage{booktabs} and, for quotation marks, \\usepackage[T1]{fontenc}",
        "\\begin{table}[t]",
        "\\centering",
        f"\\caption{{{escape(caption)}}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        "\\toprule",
        _line(header),
    ]
    for title, rows in blocks:
        lines.append("\\midrule")
        if title:
            lines += [f"\\multicolumn{{{len(header)}}}{{l}}{{\\emph{{{escape(title)}}}}} \\\\", "\\midrule"]
        lines += [_line(row) for row in rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines += [f"\\par\\smallskip\\footnotesize {escape(note)}" for note in notes]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + " \\\\"
