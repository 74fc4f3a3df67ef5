"""Folders and tables of any bytes: an article or a reason comes of each item, and the rest is read all the same."""

import datetime
import decimal
import gzip
import io
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from safe_exp.config.data import LabelsConfig
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared.parts import LEFT_OUT, PartMaker
from safe_exp.data.reading.articles import Article, LeftOut, name_picture
from safe_exp.data.reading.readers import Part
from safe_exp.data.reading.readers.fakenewsnet import FolderReader
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.data.text import AT_SPACES
from safe_exp.system.errors import UserError
from tests.fuzz.cases import JSON_VALUES, SCALARS, TEXT, as_bytes, broken, fuzz, objects

LABELS = LabelsConfig(fake=["fake", "1"], real=["real", "0"])
ARTICLE_KEYS = ["title", "text", "source", "publish_date", "images", "top_img", "url", "meta_data"]
DATES = st.one_of(
    st.sampled_from(["2020-02-30", "20200131", "1e999", "٣/٤/٢٠٢٠", "31 Sept", "1580428800000", "{'$date': 1}"]),
    st.datetimes().map(str),
    SCALARS,
    st.dictionaries(st.just("$date"), SCALARS, max_size=1),
)
USUAL = st.fixed_dictionaries(
    {"title": TEXT, "text": TEXT}, optional={"publish_date": DATES, "url": TEXT, "top_img": TEXT}
)
ARTICLES = as_bytes(st.one_of(objects(ARTICLE_KEYS), USUAL, JSON_VALUES))
CAPTIONS = st.one_of(st.none(), TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=20))


@fuzz(st.tuples(ARTICLES, CAPTIONS), together=5)
def test_a_folder_of_any_bytes_is_prepared_or_accounted_for(cases, folder):
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    for number, (article, caption) in enumerate(cases):
        place = root / ("fake" if number % 2 else "real") / f"{number:03d}"
        place.mkdir(parents=True)
        (place / "news_article.json").write_bytes(article)
        if caption is not None:
            (place / "caption.txt").write_bytes(caption)
    reader = FolderReader(str(root), LABELS, "caption.txt")
    items = list(reader.items())
    captioner = FileCaptionerConfig(name="file", file_name="caption.txt")
    maker = PartMaker(reader, captioner, 20, 10, AT_SPACES, False, folder, folder)
    maker.make(Part(0, items))
    part = pq.read_table(maker.path(0))
    assert len(part) + len(json.loads(part.schema.metadata[LEFT_OUT])) == len(cases) == len(items)
    assert all(reader.signature(item) for item in items)


COLUMNS = ["id", "label", "title", "text", "caption", "image", "source", "date"]
CELLS = st.one_of(TEXT, st.sampled_from(["fake", "real", "1", "0", "", '"', '"a', "a,b", "\n", "null"]))


def _lines(rows: list[list[str]], delimiter: str, end: str) -> bytes:
    return end.join(delimiter.join(row) for row in [["id", "label", "title", "text"], *rows]).encode("utf-8", "replace")


CSV = st.builds(
    _lines,
    st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=3),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
ROWS = objects(COLUMNS).map(lambda row: {"label": "fake"} | row)
JSON_ARRAY = as_bytes(st.lists(st.one_of(ROWS, JSON_VALUES), max_size=3))
JSON_LINES = st.lists(as_bytes(st.one_of(ROWS, JSON_VALUES)), max_size=3).map(b"\n".join)
TYPED = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=9)), min_size=2, max_size=2),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
    st.lists(st.floats(), min_size=2, max_size=2),
    st.lists(st.binary(max_size=9), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.lists(st.datetimes(), min_size=2, max_size=2),
    st.lists(st.dates(), min_size=2, max_size=2),
    st.just([decimal.Decimal("1.5"), None]),
    st.just([datetime.timedelta(days=1), None]),
    st.just([datetime.time(1), None]),
    st.just([["a", None], []]),
    st.just([{"$date": "2020-01-01"}, None]),
)


def _parquet(columns: dict[str, list]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"label": ["fake", "real"], "text": ["a", "b"]} | columns), content)
    return content.getvalue()


PARQUET = st.builds(_parquet, st.dictionaries(st.sampled_from(COLUMNS), TYPED, max_size=3))
TABLES = st.one_of(
    st.tuples(st.just("t.csv"), st.one_of(CSV, broken(CSV), st.binary(max_size=60))),
    st.tuples(st.sampled_from(["t.txt", "t.tsv"]), st.one_of(CSV, broken(CSV), broken(CSV.map(lambda c: c * 9)))),
    st.tuples(st.just("t.jsonl"), JSON_LINES),
    st.tuples(st.just("t.json"), st.one_of(JSON_ARRAY, broken(JSON_ARRAY), JSON_LINES)),
    st.tuples(st.just("t.csv.gz"), broken(CSV.map(gzip.compress))),
    st.tuples(st.just("t.parquet"), PARQUET),
    st.tuples(st.just("t.parquet"), broken(PARQUET)),
)


@fuzz(TABLES)
def test_a_table_of_any_bytes_gives_articles_reasons_or_one_message(cases, folder):
    for name, content in cases:
        path = folder / name
        path.write_bytes(content)
        for labels, captions in ((LABELS, True), (None, False)):
            columns = ColumnsConfig(**{column: column for column in COLUMNS})
            reader = TableReader(str(path), columns, labels, None, captions)
            try:
                for item in reader.items():
                    found = reader.read(item)
                    assert isinstance(found, Article | LeftOut)
                    images = [name_picture(picture) for picture in getattr(found, "images", ())]
                    json.dumps([vars(found) | {"images": images}, reader.signature(item)]).encode()
            except UserError as error:
                assert f"data.root={path}" in str(error)  # noqa: PT017  (what else is raised fails the test)
