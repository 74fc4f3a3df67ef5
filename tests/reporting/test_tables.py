"""Tables as files: what programs read back, and what Markdown and LaTeX must not take for markup."""

import csv

import pytest

from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.tables import Column, Table, escape_latex, escape_markdown, to_latex, to_markdown, write_table

AWKWARD = 'a,"b"\n50% of_x & {y} | <script>'
TABLE = Table(
    "made", "A made table", [Column("name", "Name"), Column("score", "Score_1"), Column("p", "p", 4, 0.0001)],
    [{"name": AWKWARD, "score": Summary(3, 0.8, 0.0125, 0.75, 0.85), "p": 0.00001},
     {"name": "[3, 4]", "score": Summary(1, 0.5), "p": None}],
    note="100 % made up.",
)  # fmt: skip


def test_a_csv_file_gives_back_every_value_in_full(tmp_path):
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
        r"0.800 $\pm$ 0.013 [0.750, 0.850] & \textless{} 0.0001 \\"
    ) in lines
    assert r"{}[3, 4] & 0.500 & -- \\" in lines  # a bare [ would be an argument of the \\ before it
    assert lines.index(r"\toprule") < lines.index(r"\midrule") < lines.index(r"\bottomrule")


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
