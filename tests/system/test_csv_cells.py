import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_exp.system.csv_cells import from_cell, to_cell


@pytest.mark.parametrize("text", ["=cmd|'/C calc'!A1", "+1+1", "-cmd", "@SUM(1)", "\t=1", "\r=1", "'=1"])
def test_a_formula_becomes_a_text(text):
    assert to_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["fake/1", "-1", "+5.5", "", "'tis", "a=b", -1, None, 0.5])
def test_everything_else_stays(value):
    assert to_cell(value) == value


@given(st.text(alphabet="'=+-@\t\r1a", max_size=6))
def test_a_cell_gives_its_text_back_and_begins_no_formula(text):
    cell = to_cell(text)
    assert from_cell(cell) == text
    if cell[:1] in tuple("=+-@\t\r"):
        float(cell)
