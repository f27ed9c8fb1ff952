"""Shared by the tests of rnncore.convert."""

import inspect

import pytest

import rnncore as rc

needs_options = pytest.mark.skipif("activations" not in inspect.signature(rc.LSTM).parameters, reason="not merged yet")
