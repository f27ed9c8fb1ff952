"""Exogenous inputs: values that are known at every step besides the sequence of real values itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import SequenceModelBase, check_fitted
from .sequences import MASK, as_list, as_real

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats

    from .sequences import Missing, SequencesLike


class TakesExog(SequenceModelBase):
    """Base of the models that take exogenous inputs; the row u_t acts on the element of step t.

    Attributes
    ----------
    n_exog_ : int
        E, the number of inputs; 0 without any.
    """

    _exog_gaps: ClassVar[str] = MASK      # the way out where an input is NaN, for errors
    n_exog_: int

    def _learn_exog(
        self, arrays: Sequence[Array], exog: SequencesLike | None, missing: Missing = "refuse"
    ) -> list[Floats]:
        """The inputs of the training sequences, ``(T, E)`` each; sets `n_exog_`."""
        self.n_exog_ = 0
        if exog is None:
            return [np.empty((len(a), 0)) for a in arrays]
        if not self._real:
            raise TypeError(f"exog: got inputs for sequences of symbols ({self.kind_}), expected None; give the "
                            "sequences as real values (floats), for example one column per symbol")
        inputs = self._each_exog(arrays, exog, "exog", missing)
        widths = sorted({u.shape[1] for u in inputs if len(u)})
        if len(widths) > 1:
            raise ValueError(f"exog: got {widths} inputs, expected the same number E in every (T, E) array")
        self.n_exog_ = widths[0] if widths else inputs[0].shape[1]
        return [u if len(u) else np.empty((0, self.n_exog_)) for u in inputs]

    def _read_exog(
        self, arrays: Sequence[Array], exog: SequencesLike | None, name: str = "exog", missing: Missing = "refuse"
    ) -> list[Floats]:
        """The inputs of several sequences of a model that was fitted, ``(T, E)`` each."""
        if exog is None:
            return [self._check_exog(None, len(a), name, missing) for a in arrays]
        inputs = self._each_exog(arrays, exog, name, missing)
        return [self._check_exog(u, len(u), f"{name}[{i}]", missing) for i, u in enumerate(inputs)]

    def _each_exog(
        self, arrays: Sequence[Array], exog: SequencesLike, name: str, missing: Missing
    ) -> list[Floats]:
        """One array per sequence, with a row for each of its steps and any number of inputs."""
        items = as_list(exog, real=True, name=name)
        if len(items) != len(arrays):
            raise ValueError(f"{name}: got {len(items)} arrays, expected {len(arrays)}, one per sequence")
        inputs = [as_real(u, name=f"{name}[{i}]", missing=missing, way_out=self._exog_gaps)
                  for i, u in enumerate(items)]
        for i, (u, a) in enumerate(zip(inputs, arrays, strict=True)):
            if len(u) != len(a):
                raise ValueError(f"{name}[{i}]: got shape {u.shape}, expected ({len(a)}, E), a row for every step")
        return inputs

    def _check_exog(
        self, exog: ArrayLike | None, rows: int, name: str = "exog", missing: Missing = "refuse"
    ) -> Floats:
        """The inputs of one sequence, ``(rows, E)``."""
        check_fitted(self, "n_exog_")
        expected = (rows, self.n_exog_)
        if exog is None and self.n_exog_ == 0:
            return np.empty(expected)
        if exog is None:
            raise ValueError(f"{name}: got None, expected {expected}, as in fit")
        inputs = as_real(exog, name=name, missing=missing, way_out=self._exog_gaps)
        if rows == 0 and inputs.size == 0:
            return np.empty(expected)
        if inputs.shape != expected and self.n_exog_ == 0:
            raise ValueError(f"{name}: got shape {inputs.shape}, expected None: the model was fitted without inputs")
        if inputs.shape != expected:
            raise ValueError(f"{name}: got shape {inputs.shape}, expected {expected}: a "
                             "row for every step of the sequence, or of the context and the steps ahead")
        return inputs
