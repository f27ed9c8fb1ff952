"""The debugger's page: one HTML file that carries networks and runs them on what its reader types.

    networks ──▶ networks.py ──▶ the file ──▶ the browser: kernels.wasm, page.js
                 weights, cells               built/, from src/ and src/kernels by tools/build_page.py

networks   what the page must know of a network, as JSON and one array of floats
diagram    how a cell is drawn, as data
writer     the file itself, and its content security policy
notebook   the page as the result of a notebook's cell
src        the script, in TypeScript: engine/ runs a network, views/ draw it
built      the script, its style sheet and the kernels, as `make page` builds them; all that is installed
"""

from __future__ import annotations

from .writer import explore

__all__ = ["explore"]


def __dir__() -> list[str]:
    return __all__
