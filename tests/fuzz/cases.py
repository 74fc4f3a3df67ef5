"""Cases of random input: their number, broken bytes, and JSON values of any kind.

Each test runs a few hundred by default, 10,000 in the slow run, or as many as asked:
SAFE_EXP_FUZZ_CASES=100000 python -m pytest -m "slow or not slow" tests/fuzz
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW, MANY = 200, 5_000


def fuzz(strategy: st.SearchStrategy, together: int = 1) -> Callable:
    """Turn `check(cases, folder)` into a quick and a slow test of many cases, checked `together` at a time."""

    def wrap(check: Callable[[list, Path], None]) -> Callable:
        @pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
        def test(number: int, tmp_path_factory: pytest.TempPathFactory) -> None:
            number = int(os.environ.get("SAFE_EXP_FUZZ_CASES", number))
            folder = tmp_path_factory.mktemp("fuzz")
            checked = 0

            # The same cases each time, so that no test fails for an unrelated change; other cases on request.
            @settings(
                max_examples=-(-number // together), deadline=None, database=None, print_blob=True,
                derandomize="SAFE_EXP_FUZZ_CASES" not in os.environ, suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(st.lists(strategy, min_size=together, max_size=together))
            def run(cases: list) -> None:
                nonlocal checked
                check(cases, folder)
                checked += len(cases)

            run()
            assert checked >= number

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return wrap


# Characters that have broken readers before: controls, halves of surrogate pairs, marks, other planes, markup.
ODD = st.sampled_from(["\0", "\ud83d", "\ufeff", "\u2028", "\x85", "\u202e", "ﬁ", "İ", "𐐷", "<b", "&#0;", "&#xD800;",
                       "]]>", "[PAD]", '"', "\\", "\r\n", " " * 9, "\U0010ffff", "e\u0301\u0301"])  # fmt: skip
TEXT = st.one_of(st.text(max_size=30), st.lists(st.one_of(ODD, st.text(max_size=4)), max_size=6).map("".join))
NUMBERS = st.one_of(st.integers(), st.integers(10**300, 10**305), st.floats(), st.sampled_from([0, -1, 2**31, 2**63]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ENCODINGS = st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"])


def objects(keys: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw JSON objects with some of these keys, and sometimes others."""
    return st.dictionaries(st.one_of(st.sampled_from(keys), st.sampled_from(keys), TEXT), JSON_VALUES, max_size=5)


def encoded(value: Any, encoding: str, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode(
        encoding, "surrogatepass" if "utf" in encoding else "replace"
    )


def as_bytes(values: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    """Encode JSON values in any encoding, whole or broken."""
    whole = st.builds(encoded, values, ENCODINGS, st.booleans())
    return st.one_of(whole, broken(whole), st.binary(max_size=60))


Change = tuple[str, float, bytes]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=4,
)


def broken(whole: st.SearchStrategy[bytes], first: int | None = None) -> st.SearchStrategy[bytes]:
    """Change a few bytes, within the first so many or anywhere."""
    return st.builds(_changed, whole, CHANGES, st.just(first))


def _changed(content: bytes, changes: list[Change], first: int | None) -> bytes:
    for kind, share, new in changes:
        place = int(share * min(len(content), first or len(content)))
        if kind == "replace":
            content = content[:place] + new + content[place + len(new) :]
        elif kind == "insert":
            content = content[:place] + new + content[place:]
        elif kind == "delete":
            content = content[:place] + content[place + len(new) :]
        elif kind == "cut":
            content = content[:place]
        else:
            content = content[:place] + content[place : place + 40] * 2 + content[place:]
    return content
