"""`rnncore debug`: five cells on one text with one budget, and where the gradient of each dies.

text ─ runs: train each cell, measure it ─┬ table on stdout
                                          ├ results.json
                                          └ figures ─ index.html

`runs` computes and draws nothing, `figures` and `page` draw and compute nothing.
"""

from rnncore.command.debug.page import FILES, KEYS, write_report
from rnncore.command.debug.runs import Budget, Run, compare, table

__all__ = ["FILES", "KEYS", "Budget", "Run", "compare", "table", "write_report"]
