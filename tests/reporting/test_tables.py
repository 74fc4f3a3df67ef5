"""Files of tables: programs read every value back, and text is no markup in Markdown and LaTeX."""

import csv
import re
from itertools import product

import pytest

from safe_exp.reporting.latex import LINE_CHARACTERS, escape_latex, to_latex
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.table_files import escape_markdown, to_markdown, write_table
from safe_exp.reporting.tables import Column, Table

AWKWARD = 'a,"b"\n50% of_x & {y} | <script>'
TABLE = Table(
    "made", "A made table", [Column("name", "Name"), Column("score", "Score_1"), Column("p", "p", 4, 0.0001)],
    [{"name": AWKWARD, "score": Summary(3, 0.8, 0.0125, 0.75, 0.85), "p": 0.00001},
     {"name": "[3, 4]", "score": Summary(1, 0.5), "p": None}],
    note="100 % made up.",
)  # fmt: skip


def test_a_csv_file_holds_every_value_in_full_precision(tmp_path):
    write_table(TABLE, tmp_path)
    with open(tmp_path / "made.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[0] == {
        "name": AWKWARD, "score_mean": "0.8", "score_sd": "0.0125", "score_low": "0.75", "score_high": "0.85",
        "score_n": "3", "p": "1e-05",
    }  # fmt: skip
    assert (rows[1]["score_mean"], rows[1]["score_sd"], rows[1]["p"]) == ("0.5", "", "")


def test_markdown_by_hand():
    assert to_markdown(TABLE).splitlines() == [
        "**A made table**",
        "",
        r"| Name | Score\_1 | p |",
        "| --- | ---: | ---: |",
        r'| a,"b" 50% of\_x & \{y\} \| \<script\> | 0.800 ± 0.013 \[0.750, 0.850\] | \< 0.0001 |',
        r"| \[3, 4\] | 0.500 | – |",
        "",
        "100 % made up.",
    ]


def test_latex_by_hand():
    lines = to_latex(TABLE).splitlines()
    assert r"\caption{A made table. 100 \% made up.}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r"Name & Score\_1 & p \\" in lines
    assert (
        r"a,\textquotedbl{}b\textquotedbl{} 50\% of\_x \& \{y\} \textbar{} \textless{}script\textgreater{} & "
        r"\begin{tabular}[t]{@{}r@{}}0.800 $\pm$ 0.013 \\ {}[0.750, 0.850]\end{tabular} & \textless{} 0.0001 \\"
    ) in lines
    assert r"{}[3, 4] & 0.500 & -- \\" in lines  # a bare [ would be an argument of the \\ before it
    assert lines.index(r"\toprule") < lines.index(r"\midrule") < lines.index(r"\bottomrule")


def test_a_table_too_wide_or_too_tall_for_a_page_is_split_without_loss():
    columns = [Column("name", "Name"), *(Column(f"c{n}", f"figure number {n}") for n in range(9))]
    rows = [
        {"name": f"row {n}"} | {f"c{m}": Summary(3, n + m / 10, 0.1, 0.2, 0.3) for m in range(9)} for n in range(60)
    ]
    text = to_latex(Table("wide", "A wide table", columns, rows))
    parts = text.split(r"\begin{table}")[1:]
    assert len(parts) > 2
    assert len(set(re.findall(r"\\label\{.+\}", text))) == len(parts)
    for part in parts:
        lines = [line for line in part.splitlines() if line.startswith("row ")]
        assert len(lines) <= 50
        assert max(map(len, lines)) <= LINE_CHARACTERS + 40  # $\pm$ and & are shorter when printed
    for row, column in product(range(60), range(9)):
        assert re.search(rf"^row {row} & (?:.+ & )?{row + column / 10:.3f} ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "latex"),
    [("α = 0.5", r"$\alpha$ = 0.5"), ("C:\\x", r"C:\textbackslash{}x"), ("~^", r"\textasciitilde{}\textasciicircum{}"),
     ("two\nlines", "two lines"), ("$#", r"\$\#")],
)  # fmt: skip
def test_latex_escapes(text, latex):
    assert escape_latex(text) == latex


def test_markdown_escapes_leave_no_markup():
    assert escape_markdown("*a* `b` [c](d)\n| e") == r"\*a\* \`b\` \[c\](d) \| e"


def test_files_are_written_whole(tmp_path):
    paths = write_table(TABLE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert {path.suffix for path in paths} == {".csv", ".md", ".tex"}
