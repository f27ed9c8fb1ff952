"""Tables of numbers as other programs write them: what is read, what is left out and why, and what is refused."""

import hashlib
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from rnncore.data import TextError, read_table
from rnncore.data.tables import cells

N = 12
RNG = np.random.default_rng(7)
A, B = [f"{x:.3f}" for x in RNG.normal(size=N)], [f"{x:.2f}" for x in 100 * RNG.normal(size=N)]
VALUES = np.array([A, B], float).T
DAYS = [f"2020-01-{i + 1:02d}" for i in range(N)]
COUNT = [str(i) for i in range(N)]


def rows(*columns, sep=",", end="\n"):
    return end.join(sep.join(map(str, row)) for row in zip(*columns, strict=True)) + end


def comma(cells):
    return [cell.replace(".", ",") for cell in cells]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def read(tmp_path):
    def reader(content, **options):
        return read_table(write(tmp_path / "f.csv", content), **options)

    return reader


# -- one table, written in many ways ----------------------------------------------------------
SAME = {
    "plain": "a,b\n" + rows(A, B),
    "no newline at the end": ("a,b\n" + rows(A, B)).rstrip(),
    "CR": "a,b\r" + rows(A, B, end="\r"),
    "CRLF": "a,b\r\n" + rows(A, B, end="\r\n"),
    "all three": "a,b\r\n" + rows(A, B),
    "semicolons": "a;b\n" + rows(A, B, sep=";"),
    "tabs": "a\tb\n" + rows(A, B, sep="\t"),
    "bars": "a|b\n" + rows(A, B, sep="|"),
    "spaces": "a b\n" + rows(A, B, sep="   "),
    "spaces before rows": "  a b\n" + rows([" " * i + a for i, a in enumerate(A)], B, sep=" "),
    "padded": " a , b \n" + rows([f"  {a} " for a in A], [f" {b}" for b in B]),
    "quotes": '"a","b"\n' + rows([f'"{a}"' for a in A], B),
    "single quotes": "'a'\t'b'\n" + rows(A, B, sep="\t"),
    "sep=": "sep=;\na;b\n" + rows(A, B, sep=";"),
    "blank lines": "\n\na,b\n\n" + rows(A, B, end="\n\n"),
    "one trailing comma": "a,b\n" + rows(A, B).replace("\n", ",\n", 1),
    "trailing commas": "a,b,\n" + rows(A, B, [""] * N),
    "trailing commas of rows": "a,b\n" + rows(A, B, [""] * N),
    "empty rows at the end": "a,b\n" + rows(A, B) + ",\n,\n",
    "decimal commas": "a;b\n" + rows(comma(A), comma(B), sep=";"),
    "decimal commas and tabs": "a\tb\n" + rows(comma(A), comma(B), sep="\t"),
    "decimal commas in quotes": "a,b\n" + rows([f'"{x}"' for x in comma(A)], [f'"{x}"' for x in comma(B)]),
    "minus": "a,b\n" + rows([a.replace("-", "−") for a in A], B),
    "Fortran": "a,b\n" + rows([a + "D+00" for a in A], [b + "d0" for b in B]),
    "percent": "a,b\n" + rows([a + "%" for a in A], [b + " %" for b in B]),
    "units": "a,b\n" + rows([a + " °C" for a in A], [b + "kWh" for b in B]),
    "currency": "a,b\n" + rows([a.replace("-", "-$") if "-" in a else "$" + a for a in A], [b + " €" for b in B]),
    "codes of currencies": "a,b\n" + rows(["USD " + a for a in A], [b + " EUR" for b in B]),
    "brackets": "a,b\n" + rows([f"({a[1:]})" if a.startswith("-") else a for a in A], B),
    "row of units": "a,b\nm/s,K\n" + rows(A, B),
    "words before": "Level of a river\nmeasured by hand\n\na,b\n" + rows(A, B),
    "comments before": "# made by hand\n# in metres\na,b\n" + rows(A, B),
    "header as a comment": "# a,b\n" + rows(A, B),
    "R": '"a" "b"\n' + rows([f'"{i + 1}"' for i in range(N)], A, B, sep=" "),
    "UTF-8 with a mark": ("a,b\n" + rows(A, B)).encode("utf-8-sig"),
    "UTF-16": ("a\tb\n" + rows(A, B, sep="\t")).encode("utf-16"),
    "UTF-16-LE": ("a,b\n" + rows(A, B)).encode("utf-16-le"),
    "UTF-16-BE": ("a,b\n" + rows(A, B)).encode("utf-16-be"),
    "text beside": "a,b,remark\n" + rows(A, B, [f"no {i}; well, yes".replace(",", "") for i in range(N)]),
    "large cell": "a,b,remark\n" + rows(A, B, ["x" * 200_000, *["y"] * (N - 1)]),
    "large cell of many lines": "a,b,remark\n" + rows(A, B, ['"' + "x,\n" * 200_000 + '"', *["y"] * (N - 1)]),
    "a column without values": "a,b,empty\n" + rows(A, B, ["NA"] * N),
    "dates": "day,a,b\n" + rows(DAYS, A, B),
    "counted": "n,a,b\n" + rows(COUNT, A, B),
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME.keys())
def test_a_table_is_the_same_however_it_is_written(read, content):
    table = read(content)
    assert table.columns == ("a", "b")
    np.testing.assert_allclose(table.values, VALUES, rtol=1e-15)
    assert table.complete
    raw = content if isinstance(content, bytes) else content.encode()
    assert table.sha256 == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("content", [rows(A, B), rows(comma(A), comma(B), sep=";"), rows(A, B, sep="\t"),
                                     rows(A, B, sep=" ")])
def test_a_table_without_a_header_loses_no_row(read, content):
    table = read(content)
    assert table.columns == ("column 1", "column 2")
    np.testing.assert_allclose(table.values, VALUES)
    dated = read(rows(DAYS, A, B))
    assert (dated.index, dated.columns) == ("column 1", ("column 2", "column 3"))
    np.testing.assert_allclose(dated.values, VALUES)


def test_one_column_is_read_with_either_decimal_sign(read):
    for content in (rows(A), "x\n" + rows(A), "x\n" + rows(comma(A)), rows(comma(A)), "x\r" + rows(A, end="\r")):
        np.testing.assert_allclose(read(content).values, VALUES[:, :1])
    assert read("x\n" + rows(COUNT)).values.shape == (N, 1)     # a single column may increase by a constant


@pytest.mark.parametrize("mark", ["", "NA", "na", "N/A", "n/a", "#N/A", "NULL", "null", "None", "NaN", "nan", "-", "--",
                                  ".", "..", "?", "missing", "#DIV/0!", " NA ", '"NA"', '""', "–"])
def test_marks_of_missing_values_do_not_drop_a_column(read, mark):
    table = read("a,b\n" + rows([*A[:3], mark, *A[4:]], B))
    assert table.columns == ("a", "b")
    assert np.isnan(table.values).sum() == 1
    assert np.isnan(table.values[3, 0])


def test_other_marks_are_named_by_the_user(read):
    content = "a,b\n" + rows([*A[:3], "error", *A[4:]], [*B[:6], "-999", *B[7:]])
    table = read(content)
    assert table.columns == ("b",)
    assert table.left_out == {"a": "'error' in row 5 is not a number"}
    table = read(content, missing=["error", "-999"])
    assert np.argwhere(np.isnan(table.values)).tolist() == [[3, 0], [6, 1]]


@pytest.mark.parametrize(("content", "column", "reason"), [
    ("a,b\n" + rows([*A[:7], "broken", A[8], "too", *A[10:]], B), "a",
     "'broken' in row 9 is not a number, nor is 1 more cell"),
    ("a,b\n" + rows(["x"] * N, B), "a", "'x' in row 2 is not a number, nor are 11 more cells"),
    ("a,b\n" + rows([*A[:4], "inf", *A[5:]], B), "a", "row 6 is infinite"),
    ("a,b\n" + rows([*A[:4], "-1e999", *A[5:]], B), "a", "row 6 is infinite or too large"),
    ("a,b\n" + rows([*A[:4], "5%", *A[5:]], B), "a", "its units differ: none in row 2, % in row 6"),
    ("a,b\n" + rows([*[a + " kg" for a in A[:4]], *[a + " lb" for a in A[4:]]], B), "a",
     "its units differ: kg in row 2, lb in row 6"),
    ("a,b\n" + rows([*A[:4], '"1,5"', *A[5:]], B), "a", "'1,5' in row 6 is not a number with the decimal sign '.'"),
    ("a,b\n" + rows([*A[:4], '3"', *A[5:]], B), "a", "row 6 is not a number"),
    ("a,b\n" + rows([*A[:4], "0x1F", *A[5:]], B), "a", "'0x1F' in row 6 is not a number"),
    ("a,b\n" + rows(["NULL"] * N, B), "a", "no value"),
])
def test_a_column_that_is_left_out_is_named_with_its_reason(read, content, column, reason):
    table = read(content)
    assert table.columns == ("b",)
    assert list(table.left_out) == [column]
    assert reason in table.left_out[column]


def test_thousands_are_understood_where_they_are_clear(read):
    numbers = [1234567 + 1000 * i * (-1) ** i for i in range(N)]
    for content in ("a,b\n" + rows([f'"{n:,}"' for n in numbers], B),
                    "a;b\n" + rows([f"{n:,}".replace(",", ".") for n in numbers], comma(B), sep=";"),
                    "a;b\n" + rows([f"{n:,}".replace(",", "'") for n in numbers], B, sep=";"),
                    "a;b\n" + rows([f"{n:,}".replace(",", "\u00a0") for n in numbers], comma(B), sep=";"),
                    "a;b\n" + rows([f"{n:,}".replace(",", " ") for n in numbers], comma(B), sep=";"),
                    "a;b\n" + rows([f"{n:,},5".replace(",", ".", 2) for n in numbers], comma(B), sep=";")):
        table = read(content)
        assert table.columns == ("a", "b")
        np.testing.assert_allclose(table.values[:, 0], numbers, atol=0.5)
        np.testing.assert_allclose(table.values[:, 1], VALUES[:, 1])


def test_a_comma_that_can_be_read_in_two_ways_is_told_or_refused(read):
    numbers = [f"{1234 + 10 * i * (-1) ** i:,}" for i in range(N)]
    table = read("a,b\n" + rows([f'"{n}"' for n in numbers], COUNT[::-1]))
    assert table.values[0, 0] == 1234
    assert any("'1,234' is read as 1234; if that is wrong, give --decimal ," in note for note in table.notes)
    table = read("a;b\n" + rows(numbers, COUNT[::-1], sep=";"))
    assert table.values[0, 0] == 1.234
    assert any("give --decimal ." in note for note in table.notes)
    with pytest.raises(TextError, match=r"'1,234' could be 1.234 or 1234: .* --decimal , or --decimal \."):
        read("a\tb\n" + rows(numbers, COUNT[::-1], sep="\t"))
    for sign, value in ((",", 1.234), (".", 1234)):
        assert read("a\tb\n" + rows(numbers, COUNT[::-1], sep="\t"), decimal=sign).values[0, 0] == value
    with pytest.raises(ValueError, match="decimal: got ';', expected"):
        read("a\n1\n2\n", decimal=";")


def test_very_large_and_small_numbers_are_read_exactly(read):
    numbers = ["1e200", "-1.7976931348623157e308", "5e-324", "123456789012345678901234567890", "0.1", "1e-200"]
    np.testing.assert_array_equal(read("a\n" + rows(numbers)).values[:, 0], np.array(numbers, float))


def test_booleans_are_numbers(read):
    for yes, no in (("True", "False"), ("true", "false"), ("TRUE", "FALSE")):
        table = read("a,b\n" + rows([yes, no, no] * 4, B))
        assert table.values[:3, 0].tolist() == [1, 0, 0]


def test_names_are_those_of_the_file(read):
    assert read('"temp, C";b\n' + rows(A, B, sep=";")).columns == ("temp, C", "b")
    assert read("Größe,b\n" + rows(A, B)).columns == ("Größe", "b")
    table = read(("Größe,b\n" + rows(A, B)).encode("cp1252"))
    assert table.columns == ("Größe", "b")
    assert "Windows-1252" in table.notes[0]
    assert read("a,a,\n" + rows(A, B, A)).columns == ("a", "a (2)", "column 3")
    table = read("Country,1990,1991,1992\n" + rows([f"c{i}" for i in range(N)], A, B, A))
    assert table.columns == ("1990", "1991", "1992")
    assert read('"a\nb",c\n' + rows(A, B)).columns == ("a\nb", "c")


# -- clocks -----------------------------------------------------------------------------------
def month(i):
    return 2000 + (10 + i) // 12, 1 + (10 + i) % 12


CLOCKS = {
    "YYYYMM": ("month", [f"{y}{m:02d}" for y, m in map(month, range(N))]),
    "YYYYMM, another name": ("x", [f"{y}{m:02d}" for y, m in map(month, range(N))]),
    "YYYYMMDD": ("d", [d.replace("-", "") for d in DAYS]),
    "YYYYQ": ("t", [f"{1959 + i // 4}{1 + i % 4}" for i in range(N)]),
    "1959Q1": ("t", [f"{1959 + i // 4}Q{1 + i % 4}" for i in range(N)]),
    "1959-Q1": ("t", [f"{1959 + i // 4}-Q{1 + i % 4}" for i in range(N)]),
    "Q1 1959": ("t", [f"Q{1 + i % 4} {1959 + i // 4}" for i in range(N)]),
    "1959M1": ("t", [f"{y}M{m}" for y, m in map(month, range(N))]),
    "1959:1": ("t", [f"{y}:{m:02d}" for y, m in map(month, range(N))]),
    "weeks": ("t", [f"2020-W{i + 1:02d}" for i in range(N)]),
    "months": ("t", [f"{y}-{m:02d}" for y, m in map(month, range(N))]),
    "years": ("when", [1990 + i for i in range(N)]),
    "parts of years": ("year", [f"{1959 + i / 12:.3f}" for i in range(N)]),
    "seconds": ("timestamp", [1_500_000_000 + 60 * i for i in range(N)]),
    "irregular milliseconds": ("ts", [1_500_000_000_000 + 1000 * i + i * i % 7 for i in range(N)]),
    "ISO": ("t", [f"{d}T12:30:00" for d in DAYS]),
    "ISO with a zone": ("t", [f"{d} 12:30:00+02:00" for d in DAYS]),
    "ISO, UTC": ("t", [f"{d}T12:30:00.125Z" for d in DAYS]),
    "German": ("Datum", [f"{i + 1}.1.2020" for i in range(N)]),
    "US": ("d", [f"{i + 1}/1/2020" for i in range(N)]),
    "Excel": ("d", [f"{i + 1}-Jan-20" for i in range(N)]),
    "words": ("d", [f"Jan {i + 1} 2020" for i in range(N)]),
    "month and year": ("d", [f"{m}-{1990 + k}" for k in range(3) for m in ("Jan", "Apr", "Jul", "Oct")]),
    "no name": ("", COUNT),
}


@pytest.mark.parametrize(("name", "clock"), CLOCKS.values(), ids=CLOCKS.keys())
def test_a_column_that_says_when_is_the_index_and_not_modelled(read, name, clock):
    for table in (read(f"{name},a,b\n" + rows(clock, A, B)), read(f"a,b,{name or 'n'}\n" + rows(A, B, clock))):
        assert table.columns == ("a", "b")
        assert table.index == (name or table.index)
        assert list(table.left_out) == [table.index]
        assert not table.notes
        assert len(table.times) == N
        np.testing.assert_allclose(table.values, VALUES)


def test_a_year_with_a_part_of_it_is_one_clock(read):
    years, quarters = [2000 + i // 4 for i in range(N)], [1 + i % 4 for i in range(N)]
    for table in (read("year,quarter,a,b\n" + rows(years, quarters, A, B)), read(rows(years, quarters, A, B))):
        assert len(table.columns) == 2
        assert "with" in table.index
        assert not table.notes
    table = read("year,month,day,a,b\n" + rows([2020] * N, [1] * 6 + [2] * 6, [*range(26, 32), *range(1, 7)], A, B))
    assert (table.columns, table.index) == (("a", "b"), "year with month with day")
    assert str(table.times[6]).startswith("2020-02-01")
    table = read("date,time,a,b\n" + rows(["2020-01-01"] * N, [f"{i:02d}:00" for i in range(N)], A, B))
    assert (table.columns, table.index) == (("a", "b"), "date with time")
    table = read("time,hour,a,b\n" + rows([f"2020-01-01 {i % 24:02d}:00" for i in range(N)], COUNT, A, B))
    assert (table.columns, table.index) == (("a", "b"), "time")


def test_rows_that_are_newest_first_are_turned_round(read):
    for clock in ([2020 - i for i in range(N)], DAYS[::-1], [f"{y}{m:02d}" for y, m in map(month, range(N))][::-1]):
        table = read("year,a,b\n" + rows(clock, A, B))
        np.testing.assert_allclose(table.values, VALUES[::-1])
        assert "newest first" in table.notes[0]
        assert table.times[0] < table.times[-1]


@pytest.mark.parametrize(("clock", "said"), [
    ([*DAYS[:5], *(f"2020-03-{i:02d}" for i in range(1, 8))],
     "1 gap, the first after row 6, from 2020-01-05 to 2020-03-01; the usual step is 1 day,"),
    ([1_500_000_000 + 60 * i + 3600 * (i > 5) for i in range(N)], "1 gap, the first after row 7, from 2017-07-14T"),
    ([1990 + i + (i > 3) + (i > 7) for i in range(N)], "2 gaps, the first after row 5, from 1993 to 1995"),
    ([*(f"2020-{i:02d}" for i in range(1, 8)), *(f"2021-{i:02d}" for i in range(1, 6))], "the usual step is 1 month,"),
    ([*DAYS[:5], DAYS[4], *DAYS[6:]], "repeats in 1 row, the first is row 7"),
    ([*DAYS[:5], "2019-12-31", *DAYS[6:]], "goes back in row 7"),
    ([*DAYS[:5], "", *DAYS[6:]], "is missing in row 7"),
    ([2 ** (i / 3) + 1900 for i in range(N)], "has steps of"),
])
def test_gaps_in_time_and_disorder_are_said(read, clock, said):
    table = read("time,a,b\n" + rows(clock, A, B))
    assert table.columns == ("a", "b")
    assert any(said in note for note in table.notes), table.notes


@pytest.mark.parametrize("clock", [
    [d for d in (f"2020-01-{i:02d}" for i in range(1, 17)) if np.is_busday(d)],
    [f"{2000 + i // 12}-{1 + i % 12:02d}-01" for i in range(N)],
    [f"2019-{m:02d}-{d}" for m, d in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1)],
    [f"{1999 + i}-12-31" for i in range(N)],
])
def test_working_days_months_and_years_have_no_gaps(read, clock):
    assert read("date,a,b\n" + rows(clock, A, B)).notes == ()


def test_what_increases_may_be_data(read):
    total = np.cumsum(RNG.integers(1, 9, N))
    table = read("a,total\n" + rows(A, total))
    assert table.columns == ("a", "total")
    assert "total increases in every row and is modelled; " in table.notes[0]
    assert "--index" in table.notes[0]
    table = read("a,total\n" + rows(A, total), index="total")
    assert (table.columns, table.index) == (("a",), "total")
    assert read("n,a\n" + rows(COUNT, A), columns=["n", "a"]).columns == ("n", "a")     # what is named is not left out
    price = [f"{x:.1f}" for x in 3173 + 10 * RNG.normal(size=N)]                         # no years and months
    assert read("a,price\n" + rows(A, price)).columns == ("a", "price")


def test_series_one_after_the_other_are_noticed(read):
    table = read("firm,year,a\n" + rows(["x"] * 6 + ["y"] * 6, [*range(2000, 2006)] * 2, A))
    assert table.columns == ("a",)
    assert "year goes back in row 8, so these may be several series" in table.notes[0]


# -- options ----------------------------------------------------------------------------------
def test_columns_are_chosen_by_name(read):
    content = '"temp, C";b;c\n' + rows(A, B, A, sep=";")
    for columns in ("b, c", "b,c", " b ,c ", "b,,c,", ["b", "c"], ("b", "c")):
        assert read(content, columns=columns).columns == ("b", "c")
    for columns in ("c,temp, C", 'c, "temp, C"', ["c", "temp, C"]):
        assert read(content, columns=columns).columns == ("c", "temp, C")
    for columns, message in (("temp", "has no 'temp'"), ("B", r"has no 'B'; did you mean 'b'\?"), ("", "got no name"),
                             (" , ", "got no name")):
        with pytest.raises(TextError, match=message):
            read(content, columns=columns)
    with pytest.raises(TextError, match=r"a: 'x' in row 2 is not a number, nor are 11 more"):
        read("a,b\n" + rows(["x"] * N, B), columns="a")
    with pytest.raises(TextError, match=r"--index: .* has no 'd'"):
        read("a,b\n" + rows(A, B), index="d")
    with pytest.raises(TextError, match=r"--index: .*: d has neither numbers nor dates"):
        read("d,b\n" + rows(["x"] * N, B), index="d")


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is empty"), (b"\n\n", "has no rows"), (b" \r\r", "has no rows"), (b"a,b\n", "no rows below its header"),
    ("x\n" + rows(["a"] * N), "no column of numbers to model: x left out: 'a' in row 2"),
    ("a,b\n" + rows(["x"] * N, ["y"] * N), "a left out: .*; b left out: "),
    ("d\n" + rows(DAYS), "d left out: dates"),
    ("a,b\n" + rows(COUNT, COUNT) * 9 + "3,4,5\n", r"row 110 has more cells than there are columns, 2; .* is '5"),
    ("a,b\n" + rows(A, B) + "1,2,3\n", r"row 14 has more cells than there are columns, 2; the first of them is '3"),
    (b"a,b\n1\x00,2\n", "binary"), (b"PK\x03\x04" * 9, "zip archive"), (b"\x1f\x8b" * 9, "gunzip"),
    ("a,b\n" + rows(A, B) * 100 + '"1,2\n' + rows(A, B) * 100, "not a table: EOF inside string"),
])
def test_what_is_no_table_is_refused_with_the_reason(read, content, message):
    with pytest.raises(TextError, match=message):
        read(content)


def test_a_missing_cell_at_the_end_of_a_row_is_a_missing_value(read):
    table = read("a,b\n" + rows(A, B) + "3\n4,\n")
    assert np.isnan(table.values[-2:, 1]).all()
    assert table.values[-2:, 0].tolist() == [3, 4]


def test_pandas_is_asked_for(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas.*pip install 'rnncore\[tables\]'"):
        read("a,b\n" + rows(A, B))


# -- size -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "large.csv"
    line = rows(DAYS, A, B, A, B).encode()
    path.write_bytes(b"day,a,b,c,d\n" + line * (8 * 2**20 // len(line)))
    return path


def test_a_limit_reads_no_more_than_it_needs(large, tmp_path):
    seen = []
    table = read_table(large, limit=7, progress=lambda done, total, info: seen.append(done / total))
    np.testing.assert_allclose(table.values[:, :2], VALUES[:7])
    assert not table.complete
    assert "the first 7 rows" in table.notes
    assert seen[-1] < 0.2
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", f"""
try:
    with open({str(pipe)!r}, "wb") as f:
        f.write(b"a,b\\n")
        while True:
            f.write(b"1,3\\n2,5\\n" * 1000)
except BrokenPipeError:
    pass
"""])
    assert len(read_table(pipe, limit=500).values) == 500
    writer.wait(timeout=60)
    path = write(tmp_path / "b.csv", "a,b\n" + rows(A, B))
    for limit in (N - 1, N, N + 1):
        table = read_table(path, limit=limit)
        assert (len(table.values), table.complete) == (min(limit, N), limit >= N)
    with pytest.raises(ValueError, match="limit: got 0"):
        read_table(path, limit=0)


def test_a_large_table_takes_less_than_three_times_its_size(large):
    read_table(large, limit=5)      # pandas itself
    seen = []
    tracemalloc.start()
    table = read_table(large, progress=lambda done, total, info: seen.append(done / total))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.values.shape[1] == 4
    assert peak < 3 * large.stat().st_size + 2**24      # one chunk of cells takes up to 16 MB
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) > 20
    np.testing.assert_allclose(table.values[-N:, :2], VALUES)


def test_a_wide_table_is_read(tmp_path):
    header = ",".join(f"c{i}" for i in range(3000))
    row = ",".join(["0.5", *A[1:], *B] * 130)[: -1].split(",")[:3000]
    path = write(tmp_path / "wide.csv", header + "\n" + "\n".join(",".join(row[i:] + row[:i]) for i in range(20)))
    assert read_table(path).values.shape == (20, 3000)


# -- cells ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "decimal", "value", "unit"), [
    ("12", ".", 12, ""), ("-.5", ".", -0.5, ""), ("5.", ".", 5, ""), ("1,234.5", ".", 1234.5, ""),
    ("1.234,5", ",", 1234.5, ""), ("1 234,5", ",", 1234.5, ""), ("1'234'567", ".", 1234567, ""),
    ("12,5 %", ",", 12.5, "%"),
    ("$1,200.50", ".", 1200.5, "$"), ("-$3", ".", -3, "$"), ("(1,200)", ".", -1200, ""), ("EUR 5", ".", 5, "EUR"),
    ("5 EUR", ".", 5, "EUR"), ("1.5e-3", ".", 1.5e-3, ""), ("1,5e3", ",", 1500, ""), ("2D+02", ".", 200, ""),
    ("+7", ".", 7, ""), ("7 km/h", ".", 7, "km/h"),
])
def test_cells_with_numbers(cell, decimal, value, unit):
    assert cells.parse(cell, decimal) == (value, unit)


@pytest.mark.parametrize(("cell", "decimal"), [
    ("1,5", "."), ("1,2,3", "."), ("1.2.3", ","), ("12,34,567", "."), ("0,126", "."), ("1.5", ","), ("abc", "."),
    ("", "."),
    ("-", "."), ("1 2", "."), ("(5", "."), ("--5", "."), ("0x1F", "."), ("5 6 kg", "."), ("$", "."), ("1_000", "."),
    ("Q1", "."), ("12:30", "."), ("2020-01-01", "."), ("1,234.5", ","),
])
def test_cells_without_a_number(cell, decimal):
    assert cells.parse(cell, decimal) is None
