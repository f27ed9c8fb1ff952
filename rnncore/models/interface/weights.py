"""Weights of sequences and of classes in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rnncore._checks import as_array, as_number

from .estimator import check_option

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats, Ints

ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Any, float] | None


def as_sample_weight(weights: ArrayLike | None, count: int, name: str = "sample_weight") -> Floats | None:
    """One weight per sequence, finite and >= 0; None where all are equal.

    Only the ratios of weights matter. They are divided by a power of 2, so that the largest is in [1/2, 1) and neither
    large nor small ones overflow in float32.

    Examples
    --------
    >>> as_sample_weight([1, 0, 2], 3), as_sample_weight([3, 3], 2)
    (array([0.25, 0.  , 0.5 ]), None)
    """
    if weights is None:
        return None
    found = as_array(weights, name, masked=True)
    if np.ma.is_masked(weights):
        raise ValueError(f"{name}: got a masked value, expected a weight for every sequence; 0 leaves one out")
    if found.shape != (count,):
        raise ValueError(f"{name}: got shape {found.shape}, expected ({count},), one weight per sequence")
    if found.dtype.kind not in "iufb":
        raise TypeError(f"{name}: got {found.dtype}, expected numbers >= 0")
    wrong = ~((found >= 0) & np.isfinite(found))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"{name}: got {found[at]} at {at}, expected finite numbers >= 0")
    if count and not found.any():
        raise ValueError(f"{name}: got only 0, expected at least one weight above 0")
    if (found == found[:1]).all():
        return None
    found = found.astype(np.float64)
    scaled: Floats = np.ldexp(found, -int(np.frexp(found.max())[1]))
    return scaled


def check_class_weight(weights: object) -> None:
    """Refuse a setting `class_weight` that is neither None, "balanced" nor a mapping."""
    if isinstance(weights, str):
        check_option("class_weight", weights, ("balanced",))
    elif weights is not None and not isinstance(weights, Mapping):
        raise ValueError(f"class_weight: got {weights!r:.60}, expected None, 'balanced' or a dict of weights by label")


def class_weights(
    setting: ClassWeight, classes: Array, numbers: Ints, sample_weight: Floats | None
) -> Floats | None:
    """The weight of every class, ``(C,)``; None where no weights are set.

    Parameters
    ----------
    setting : None, "balanced" or dict
    classes : ndarray ``(C,)``
    numbers : integer array ``(N,)``
        The class of every sequence.
    sample_weight : ndarray ``(N,)``, optional

    Examples
    --------
    >>> labels = np.array(["no", "yes"])
    >>> class_weights("balanced", labels, np.array([0, 0, 0, 1]), None)
    array([0.66666667, 2.        ])
    >>> class_weights({"yes": 5.0}, labels, np.array([0, 1]), None)
    array([1., 5.])
    """
    if setting is None:
        return None
    labels: list[Any] = classes.tolist()
    if isinstance(setting, Mapping):
        return _by_label(setting, labels)
    total = np.bincount(numbers, sample_weight, len(labels))
    if (total == 0).any():
        without = labels[int(total.argmin())]
        raise ValueError(f"class_weight: got 'balanced', but all sequences with the label {without!r} have the weight "
                         "0; leave the label out, or give class_weight as a dict")
    balanced: Floats = total.sum() / (len(labels) * total)
    return balanced


def _by_label(setting: Mapping[Any, float], labels: list[Any]) -> Floats:
    """The weights of a dict; labels without one have the weight 1.

    As in scikit-learn, other labels are accepted if all of y have a weight: a part of the data may lack some.
    """
    unknown = [label for label in setting if label not in labels]
    if unknown and any(label not in setting for label in labels):
        raise ValueError(f"class_weight: got a weight for {unknown[0]!r}, expected labels of y: {labels!r:.60}")
    found = np.array([as_number(setting.get(label, 1.0), f"class_weight[{label!r}]", least=0) for label in labels])
    if not found.any():
        raise ValueError("class_weight: got only 0, expected at least one weight above 0")
    return found
