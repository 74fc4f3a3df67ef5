import csv
import random
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_exp.config.data import DateOrder
from safe_exp.data.prepared import prepare
from safe_exp.data.reading.written_dates import choose_order, read_written, written_date
from safe_exp.data.selection import gather_split_columns
from safe_exp.data.splitting.splits import make_split
from safe_exp.system.errors import UserError
from tests.data.folders import table_config
from tests.made import compose_config

FORMS = {"dmy": "%d{0}%m{0}%Y", "mdy": "%m{0}%d{0}%Y"}
DAYS = [date(2024, 1, 1) + timedelta(days=3 * number) for number in range(100)]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("05.03.2024", "05.03.2024"),
        (" 5/3/24 07:30", "5/3/24"),
        ("13-03-2024T01:02:03Z", "13-03-2024"),
        ("2024-03-05", None),
        ("March 5, 2024", None),
        ("05.03-2024", None),
        ("05.03.20245", None),
        (1709596800, None),
        (None, None),
    ],
)
def test_dates_of_numbers_whose_year_is_not_first_are_uncertain(value, written):
    assert written_date(value) == written


@given(st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.sampled_from("./-"), st.sampled_from(["%Y", "%y"]))
def test_a_date_is_read_as_strftime_wrote_it(day, mark, year):
    for order, form in {"dmy": "%d{0}%m{0}", "mdy": "%m{0}%d{0}"}.items():
        assert read_written(day.strftime(form.format(mark) + year), DateOrder(order)) == day
    assert read_written(day.strftime(f"%y{mark}%m{mark}%d"), DateOrder.ymd) == day


@pytest.mark.parametrize("order", FORMS)
@pytest.mark.parametrize("mark", ["/", "-", "."])
def test_one_date_that_fits_one_order_alone_decides_for_all(order, mark):
    dates = [day.strftime(FORMS[order].format(mark)) for day in DAYS]
    assert choose_order(dates) is DateOrder(order)


def test_dotted_dates_that_fit_several_orders_are_day_first_and_others_are_refused():
    assert choose_order(["05.03.2024", "06.04.2024"]) is DateOrder.dmy
    with pytest.raises(
        UserError, match=r"05/03/2024 can be read as 2024-03-05 or 2024-05-03 \(2 dates .*data.dates=dmy or"
    ):
        choose_order(["05/03/2024", "06/04/2024"])
    with pytest.raises(UserError, match="03/13/2024 is no date in the order dmy, in which 2 of the others can be read"):
        choose_order(["13/03/2024", "14/03/2024", "03/13/2024"])


@pytest.fixture
def table(tmp_path):
    """Return a function that writes articles of some days, in any order, with dates in the given form."""

    def write(form, days=DAYS):
        days, path = random.Random(0).sample(days, len(days)), tmp_path / "t.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "text", "label", "caption", "date"])
            for number, day in enumerate(days):
                rows.writerow(
                    [f"a{number}", f"story {number}", ("real", "fake")[number % 2], "boat", day.strftime(form)]
                )
        return path

    return write


def split_table(path, *overrides):
    data = table_config(path, "data.split=date", *overrides)
    prepared = prepare(data, compose_config().captioner)
    columns = gather_split_columns(prepared, np.arange(len(prepared)))
    split = make_split(columns, data)
    return {name: sorted(columns.ids[row] for row in rows) for name, rows in split.sides().items()}


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y 10:00"])
def test_a_column_of_any_order_is_split_as_its_iso_dates_are(table, form):
    expected = split_table(table("%Y-%m-%d"))
    assert split_table(table(form)) == expected


def test_an_uncertain_column_is_refused_until_its_order_is_given(table):
    early = [day.replace(day=1 + day.day % 12) for day in DAYS]
    expected = split_table(table("%Y-%m-%d", early))
    path = table("%d/%m/%Y", early)
    with pytest.raises(
        UserError, match=r"data.split=date: the order of day and month .*data.dates=dmy or data.dates=mdy"
    ):
        split_table(path)
    assert split_table(path, "data.dates=dmy") == expected


def test_dates_that_a_given_order_cannot_read_stand_on_no_side(table):
    data = table_config(table("%d/%m/%Y"), "data.split=date", "data.dates=mdy")
    prepared = prepare(data, compose_config().captioner)
    split = make_split(gather_split_columns(prepared, np.arange(len(prepared))), data)
    beyond = sum(day.day > 12 for day in DAYS)
    assert 0 < beyond == {reason: len(rows) for reason, rows in split.unplaced.items()}["date is not year-month-day"]


def test_the_order_of_dates_is_for_a_split_by_date_alone():
    with pytest.raises(UserError, match=r"data.dates=dmy has no meaning with data.split=random"):
        table_config("unused", "data.dates=dmy")
