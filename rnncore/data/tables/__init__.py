"""Tables of numbers in text files, as other programs export them: separated by commas, semicolons, tabs or spaces.

file ─ source ─ layout ─ pandas ─ cells ─ clocks ─ Table

source   a file as text in blocks, however it is encoded
layout   what the first rows tell: separator, header, decimal sign
cells    cells as numbers: missing values, thousands, units
clocks   which columns only say when a row was measured, and gaps in time
read     all of these: `read_table`
"""

from .read import Table, read_table

__all__ = ["Table", "read_table"]


def __dir__() -> list[str]:
    return sorted(__all__)
