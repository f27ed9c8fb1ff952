"""Recurrent layers of torch, Keras, ONNX and audio tools as layers of rnncore, and back."""

from .torch import from_torch, to_torch
from .weights import NamedLayer

__all__ = ["NamedLayer", "from_torch", "to_torch"]
