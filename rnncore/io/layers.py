"""Checks of what a file says about a recurrent layer."""

from __future__ import annotations

from typing import Any

from rnncore.io.fields import Field, named_errors
from rnncore.recurrent.descriptions import find, first


def check_variant(mode: str, layer: Field) -> dict[str, Any]:
    """Check the options that make variants of cells (`variants.DEFAULTS`), where the file has these options.

    Returns
    -------
    dict
        Those that differ from the defaults, in the form in which layers have them.

    Raises
    ------
    DamagedFileError, or what `layer` raises
        A value is not one that the class of layers takes; the message names it.
    """
    options = {name: layer[name].value for name in first(mode).variants if name in layer}
    with named_errors(layer):
        cell = find(mode, **options)
    defaults = first(mode).options
    return {name: value for name, value in cell.options.items() if name not in defaults or value != defaults[name]}
