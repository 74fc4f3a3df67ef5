"""Vector files of any bytes, packed or not: a table of finite numbers comes of each, or one message naming the file."""

import gzip
import io
import lzma
import zipfile

import torch
from hypothesis import strategies as st

from safe_exp.config import VectorsConfig
from safe_exp.data.vectors import load_vectors
from safe_exp.system.errors import UserError
from tests.fuzz.cases import broken, fuzz

WORDS = ["[PAD]", "[UNK]", "red", "boat", "é"]
NUMBERS = st.one_of(
    st.floats(width=32).map(repr),
    st.sampled_from(["1", "-0.5", "1e39", "nan", "inf", "-", "1_0", "0x1", "", "١", "1e-400", "9" * 400]),
)
HEADERS = st.one_of(
    st.just(""),
    st.just("4 3\n"),
    st.builds("{} {}\n".format, *[st.sampled_from(["0", "1", "3", "9" * 12, "9" * 30, "9" * 5000, "²"])] * 2),
)
ENTRIES = st.builds(
    lambda word, numbers: " ".join([word, *numbers]),
    st.sampled_from(["red", "boat", "é", "sea", "", ". . .", "\u2028", "\0"]),
    st.one_of(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, max_size=5)),
)
FILES = st.builds(
    lambda header, entries, end: (header + end.join(entries)).encode(),
    HEADERS,
    st.lists(ENTRIES, max_size=6),
    st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
)
GLOVE = st.just(b"the 0.5 -1 2\nred 1 2 3\n. . . 7 8 9\nboat 4 5 6\nred 0 0 0\n")


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.txt", content)
    return packed.getvalue()


PACKED = st.builds(
    lambda pack, content: pack(content),
    st.sampled_from([gzip.compress, zipped, lambda content: lzma.compress(content, preset=0)]),
    st.one_of(FILES, GLOVE),
)
BYTES = st.one_of(FILES, broken(FILES), broken(GLOVE), broken(PACKED), st.binary(max_size=60))


@fuzz(BYTES)
def test_any_bytes_become_vectors_or_one_message(cases, folder):
    path = folder / "vectors.txt"
    for content in cases:
        path.write_bytes(content)
        try:
            table, coverage = load_vectors(VectorsConfig(path=str(path), dim=4, seed=0), WORDS)
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017  (what else is raised fails the test)
        else:
            assert table.shape[0] == len(WORDS)
            assert table.shape[1] >= 1
            assert torch.isfinite(table).all()
            assert coverage.found >= 1
