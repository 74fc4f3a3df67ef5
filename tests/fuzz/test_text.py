"""Texts of any characters are cleaned, and cut into words as the stored tokenizer cuts them."""

import unicodedata

import numpy as np
from hypothesis import strategies as st

from safe_exp.data.reading.cleaning import as_text, clean_text, iso_date
from safe_exp.data.splitting.duplicates import minhash_signature, text_key
from safe_exp.data.text import build_tokenizer, split_words
from tests.fuzz.cases import JSON_VALUES, TEXT, fuzz

ANY = st.one_of(TEXT, st.text(st.characters(codec=None), max_size=60), st.text("<>&;#x/a b\"'=-!\n", max_size=60))
TOKENIZER = build_tokenizer(["a", "b", "word"])


@fuzz(ANY)
def test_any_text_becomes_plain_words_as_the_tokenizer_cuts_them(cases, folder):
    for raw in cases:
        text = clean_text(raw)
        text.encode("utf-8")
        assert not any(unicodedata.category(c) == "Cc" and c not in "\t\n\r" for c in text)
        words, cut = split_words(text, 7)
        whole = [TOKENIZER.normalizer.normalize_str(text)[start:end] for start, end in _spans(text)]
        assert words == whole[:7]
        assert cut == (len(whole) > 7)
        assert len(TOKENIZER.encode(text).ids) == len(whole)
        assert len(text_key(text)) == 64
        assert minhash_signature(text).dtype == np.uint32


def _spans(text: str) -> list[tuple[int, int]]:
    normal = TOKENIZER.normalizer.normalize_str(text)
    return [span for _, span in TOKENIZER.pre_tokenizer.pre_tokenize_str(normal)]


@fuzz(st.one_of(JSON_VALUES, ANY))
def test_any_value_becomes_a_text_and_a_date_or_none(cases, folder):
    for value in cases:
        as_text(value).encode("utf-8")
        date = iso_date(value)
        assert date is None or (len(date), date[4], date[7]) == (10, "-", "-")
