import csv
import io
import logging
import random

import pytest

from safe_exp.data.reading.articles import Article
from safe_exp.system.errors import UserError
from tests.data.reading.readers.test_table import read

WORDS = ["city", "road", "water", "storm", "market", "police", "officials", "meeting"]


def lines(rows, delimiter):
    return "".join(delimiter.join(row) + "\n" for row in rows)


def quoted(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)
    return text.getvalue()


def articles(tmp_path, name, content, encoding="utf-8", **arguments):
    (tmp_path / name).write_bytes(content.encode(encoding))
    found = read(tmp_path / name, **arguments)
    assert all(isinstance(item, Article) for item in found), found
    return [(item.text, item.label) for item in found]


def tweets(number, stray):
    """Make rows of words with `stray` quotation marks here and there, as people type them."""
    draw = random.Random(0)
    marked = {
        row: draw.choice(['"{}', '{}"', '"{}"', '"so" {}', '{} 5" {}']) for row in draw.sample(range(number), stray)
    }
    texts = [f"{' '.join(draw.choices(WORDS, k=7))} w{row}" for row in range(number)]
    texts = [marked.get(row, "{}").format(text, "more") for row, text in enumerate(texts)]
    return [[f"a{row}", text, ("fake", "real")[row % 2], f"user{row}"] for row, text in enumerate(texts)]


HEADER = ["id", "text", "label", "user"]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_stray_marks_take_in_no_neighbours(tmp_path, delimiter):
    rows = tweets(600, 60)
    found = articles(tmp_path, "t.txt", lines([HEADER, *rows], delimiter))
    assert found == [(row[1], int(row[2] == "fake")) for row in rows]


def test_a_stray_mark_far_down_is_seen(tmp_path):
    rows = tweets(14_483, 0)
    rows[14_000][1] = '"' + rows[14_000][1]
    found = articles(tmp_path, "t.tsv", lines([HEADER, *rows], "\t"))
    assert found == [(row[1], int(row[2] == "fake")) for row in rows]


def test_a_mark_that_closes_by_luck_takes_in_no_rows(tmp_path):
    rows = tweets(40, 0)
    rows[5][1], rows[9][1] = '"' + rows[5][1], rows[9][1] + '"'
    assert len(articles(tmp_path, "t.csv", lines([HEADER, *rows], ","))) == 40


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("header", [["text", "label"], ["label", "text"], ["id", "text", "label"]])
@pytest.mark.parametrize(
    "text",
    [
        "one, two\nand three",
        "a\nb, c\nd, e",
        'said "so, it is"\n\nand left',
        "x, y",
        "plain",
        "a\r\nb,\r\nc",
        '"',
        "a,\nreal, b",
    ],
)
def test_cells_with_delimiters_marks_and_line_breaks_are_read_as_quoted(tmp_path, text, header, quoting):
    rows = [{"id": str(n), "text": f"{n} {text} {n}", "label": ("fake", "real")[n % 2]} for n in range(6)]
    content = quoted([header, *([row[name] for name in header] for row in rows)], quoting=quoting)
    found = articles(tmp_path, "t.csv", content, id="id" if "id" in header else None)
    assert found == [(row["text"].strip(), int(row["label"] == "fake")) for row in rows]


def test_where_no_reading_is_right_the_line_that_takes_in_another_is_named(tmp_path):
    rows = [["id", "text", "label"], *([str(n), f"one, two {n}", "fake"] for n in range(9))]
    content = quoted(rows).replace('4,"one, two 4"', '4,"one, two 4').replace('5,"one, two 5"', "5,one two")
    (tmp_path / "t.csv").write_text(content)
    message = (
        r"the quotation mark that opens in line 6 takes in line 7, which is a row of its own; and line 2 cannot be "
        r"read unless marks quote\. Mend line 6 .*data\.dialect=comma-unquoted takes each line"
    )
    with pytest.raises(UserError, match=message):
        read(tmp_path / "t.csv")
    forced = read_as(tmp_path / "t.csv", "comma-quoted")
    assert len(forced) == 7  # rows 4 to 6 are one
    assert sum(isinstance(item, Article) for item in read_as(tmp_path / "t.csv", "comma-unquoted")) == 1


def read_as(path, dialect):
    from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
    from tests.data.reading.readers.test_table import COLUMNS, LABELS

    reader = TableReader(str(path), ColumnsConfig(**COLUMNS), LABELS, None, True, dialect=dialect)
    return [reader.read(item) for item in reader.items()]


def test_a_torn_cell_with_line_breaks_is_named(tmp_path):
    rows = [["id", "text", "label"], *([str(n), f"one\ntwo {n}", "fake"] for n in range(9))]
    (tmp_path / "t.csv").write_text(quoted(rows).replace('4,"one', '4,""one'))
    with pytest.raises(UserError, match=r"the row around line 10 has a mark too many.*data\.dialect=comma-unquoted"):
        read(tmp_path / "t.csv")


def test_bad_rows_beside_stray_marks_cost_themselves_alone(tmp_path):
    rows = tweets(60, 12)
    rows[20] = rows[20][:2]
    rows[21].append("more")
    (tmp_path / "t.tsv").write_text(lines([HEADER, *rows], "\t"))
    found = read(tmp_path / "t.tsv")
    assert len(found) == 60
    assert [(item.path, item.detail) for item in found if not isinstance(item, Article)] == [
        ("t.tsv row 21", "line 22: 2 cells, expected 4"), ("t.tsv row 22", "line 23: 5 cells, expected 4"),
    ]  # fmt: skip


def test_lines_in_messages_are_those_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_text(
        'sep=,\nid,text,label\n1,"two\nlines, of text",fake\n\n2,short\n3,"two\nmore, of it",real\n'
    )
    found = read(tmp_path / "t.csv")
    assert [(item.path, item.detail) for item in found if not isinstance(item, Article)] == [
        ("t.csv row 3", "line 6: 2 cells, expected 3")
    ]


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("excel.csv", "sep=;\r\nid;text;label\r\n1;a, b;fake\r\n", "utf-8"),
        ("quoted-sep.csv", '"sep=;"\r\nid;text;label\r\n1;a, b;fake\r\n', "utf-8-sig"),
        ("pipes.txt", "id|text|label\n1|a, b|fake\n", "utf-8"),
        ("names.csv", 'id;"a, title; short";text;label\n1;x;a, b;fake\n', "utf-8"),
        ("breaks.csv", 'id,"text",label,"a name\nof two lines"\n1,"a, b",fake,x\n', "utf-8"),
        ("mark.csv", 'id,text,label\n1,"a, b",fake\n', "utf-8-sig"),
        ("wide.csv", 'id,text,label\n1,"a, b",fake\n', "utf-16"),
        ("mac.csv", 'id,text,label\r1,"a, b",fake\r', "utf-8"),
        ("blank.csv", '\n\nid,text,label\n\n1,"a, b",fake\n  \n', "utf-8"),
        ("spaces.csv", ' id , text,label \n1,"a, b",fake\n', "utf-8"),
        ("return.txt", "id\ttext\tlabel\n1\ta,\rb\tfake\n", "utf-8"),
    ],
)
def test_what_spreadsheets_and_editors_leave_is_read(tmp_path, name, content, encoding):
    found = articles(tmp_path, name, content, encoding)
    assert [(" ".join(text.split()), label) for text, label in found] == [("a, b", 1)]


def test_a_file_in_windows_1252_is_read_as_such_even_where_a_cell_is_short(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = [
        ["id", "text", "label"],
        ["1", "\u201cé\u201d", "fake"],
        ["2", "plain words", "real"],
        ["3", "à côté", "real"],
    ]
    found = articles(tmp_path, "t.csv", quoted(rows, ";"), "cp1252")
    assert [text for text, _ in found] == ["\u201cé\u201d", "plain words", "à côté"]
    assert "t.csv is read as semicolon-quoted, cp1252" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32-le", "UTF-32LE")]
)
@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_wide_characters_without_a_mark_are_named(tmp_path, name, encoding, named):
    content = "id,text,label\n1,some words,fake\n" if name == "t.csv" else '[{"text": "some words", "label": "fake"}]'
    (tmp_path / name).write_bytes(content.encode(encoding))
    with pytest.raises(UserError, match=rf"{name} looks like {named} without the mark .*iconv -f {named} -t UTF-8"):
        read(tmp_path / name)


def test_two_columns_of_one_name_are_refused_where_the_name_is_wanted(tmp_path):
    (tmp_path / "t.csv").write_text("id,text,text,label\n1,a,b,fake\n")
    with pytest.raises(UserError, match=r"2 columns have the name text"):
        read(tmp_path / "t.csv")
    (tmp_path / "u.csv").write_text("id,text,,label,\n1,a,b,fake,\n")
    assert [item.text for item in read(tmp_path / "u.csv")] == ["a"]


def test_the_dialect_is_told_once_with_the_way_to_overrule_it(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "t.tsv"
    path.write_text(lines([HEADER, *tweets(100, 30)], "\t"))
    for _ in range(3):
        read(path)
    said = [record.getMessage() for record in caplog.records if "is read as" in record.getMessage()]
    assert said == [
        "t.tsv is read as tab-unquoted, utf-8. If that is wrong: data.dialect=tab-quoted or the like; another "
        "encoding: iconv -t UTF-8."
    ]


def test_a_decimal_comma_is_a_point_in_labels_and_dates(tmp_path):
    from safe_exp.config.data import LabelsConfig

    (tmp_path / "t.csv").write_text("id;text;label;date\n1;x;1,0;1551641000,0\n2;y;0,0;\n")
    one, two = read(tmp_path / "t.csv", labels=LabelsConfig(fake=["1"], real=["0"]))
    assert (one.label, one.date, two.label) == (1, "2019-03-03", 0)


def test_a_line_beyond_the_bound_costs_itself_alone(tmp_path, monkeypatch):
    from safe_exp.data.reading import dialects, text_files

    monkeypatch.setattr(text_files, "MAX_ARTICLE_BYTES", 100)
    monkeypatch.setattr(dialects, "MAX_ARTICLE_BYTES", 100)
    for name, mark in (("t.csv", ""), ("u.csv", '"')):
        (tmp_path / name).write_text(f"id,text,label\n1,{mark}{'x' * 500}{mark},fake\n2,ok,real\n")
        bad, good = read(tmp_path / name)
        assert (bad.reason, good.text) == ("row cannot be read", "ok")
        assert bad.detail.startswith("line 2: more than")


def test_rows_that_a_given_dialect_tears_are_told_with_their_lines(tmp_path, caplog):
    rows = [f"{n}\t{chr(34) * (n % 3 == 0)}words {n}\tfake" for n in range(12)]
    (tmp_path / "torn.tsv").write_text("\n".join(["id\ttext\tlabel", *rows]) + "\n")
    found = read_as(tmp_path / "torn.tsv", "tab-quoted")
    told = [record.getMessage() for record in caplog.records if "take in" in record.getMessage()]
    assert len(found) < 12
    assert len(told) == 1
    assert told[0].endswith("Should each line be a row, take data.dialect=tab-unquoted.")
    assert "torn.tsv, read as data.dialect=tab-quoted: 2 rows that are left out take in 8 lines" in told[0]
