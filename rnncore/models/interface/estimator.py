"""Settings as scikit-learn keeps them, files, and the small checks that all models use.

Settings are the arguments of `__init__`, kept under the same names and never changed
by `fit`; the names of learnt attributes end in an underscore. scikit-learn's `clone` and parameter
searches therefore work, although scikit-learn is not needed.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from rnncore._checks import did_you_mean
from rnncore.io.fields import named_errors

from .storage import read_model_file, write_model_file

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import PathLike, RandomSource
    from rnncore.io.fields import Field


# Settings that are one of a few names: each with its names, or with a function that refuses a wrong one.
Names: TypeAlias = Mapping[str, Collection[str] | Callable[[Any], object]]


class NotFittedError(ValueError, AttributeError):
    """A model was used before `fit`. With scikit-learn installed, also its NotFittedError."""


def check_fitted(model: object, attribute: str) -> None:
    """Raise `NotFittedError` unless `model` has the learnt `attribute`."""
    if hasattr(model, attribute):
        return
    kind = type(model).__name__
    error: type[Exception] = NotFittedError
    try:  # only now: importing scikit-learn takes longer than importing all of rnncore
        from sklearn.exceptions import NotFittedError as theirs
        error = type("NotFittedError", (NotFittedError, theirs), {"__module__": __name__})
    except ImportError:
        pass
    raise error(f"{kind}: not fitted yet, it has no {attribute}; call fit(sequences) first, "
                f"or {kind}.load(path)")


def check_option(name: str, value: str, options: Collection[str]) -> str:
    """Refuse a setting that is not one of `options`; the error gives its name, and the nearest option."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: got {value!r:.60}, expected one of "
                         + ", ".join(map(repr, options)) + did_you_mean(value, options))
    return value


def warn_of_little_data(model: Any, count: int) -> None:
    """Warn if a model that was just fitted has more free parameters, `n_parameters_`, than there were values."""
    if count < model.n_parameters_:
        warnings.warn(f"{type(model).__name__}: fitted {model.n_parameters_} parameters to {count} values, so the "
                      "likelihood has no unique maximum, and what the model says of other data means little. Give more "
                      "data, or make the model smaller", RuntimeWarning, stacklevel=3)


class Estimator:
    """Settings as scikit-learn keeps them, and files without pickle.

    A setting that is one of a few names is checked when it is set: by the constructor, by `set_params` and by an
    assignment. `_names` of a class has these settings.
    All other settings are checked by `fit`, as scikit-learn's conventions demand.
    """

    _names: ClassVar[Names] = {}

    def _check_name(self, name: str, value: Any) -> None:
        """Refuse a wrong value of a setting that is one of a few names."""
        allowed = self._names.get(name, ())
        if callable(allowed):
            allowed(value)
        elif allowed:
            check_option(name, value, allowed)

    if not TYPE_CHECKING:   # where a type checker saw it, it would accept the assignment of any attribute

        def __setattr__(self, name: str, value: Any) -> None:
            self._check_name(name, value)
            object.__setattr__(self, name, value)

    @property
    def _estimator_type(self) -> str | None:
        return None

    @classmethod
    def _param_names(cls) -> list[str]:
        return sorted(p.name for p in inspect.signature(cls.__init__).parameters.values()
                      if p.name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, as `__init__` takes them. `deep` has no effect: no setting is itself a model."""
        return {name: getattr(self, name) for name in self._param_names()}

    def set_params(self, **params: Any) -> Self:
        """Change settings by name; returns self. They take effect at the next `fit`."""
        known = self._param_names()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"set_params: got {name!r}, expected one of {known}{did_you_mean(name, known)}")
            self._check_name(name, value)
        for name, value in params.items():      # all of them or, after an error, none
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        signature = inspect.signature(type(self).__init__).parameters
        shown = [f"{name}={_shown(getattr(self, name))}" for name, p in signature.items()
                 if name != "self" and not _same(getattr(self, name), p.default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self) -> Any:      # sklearn.utils.Tags, which has no types
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags
        kind = self._estimator_type
        return Tags(estimator_type=kind, target_tags=TargetTags(required=kind is not None),
                    classifier_tags=ClassifierTags() if kind == "classifier" else None,
                    regressor_tags=RegressorTags() if kind == "regressor" else None,
                    input_tags=InputTags(two_d_array=False, three_d_array=True, string=True))

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    # -- files ------------------------------------------------------------
    def _get_state(self) -> dict[str, Any]:
        """The learnt values by name: arrays, numbers, strings, and lists and dicts of them."""
        return {name: value for name, value in vars(self).items()
                if name.endswith("_") and not name.startswith("_")}

    def _set_state(self, state: Field) -> None:
        """The inverse of `_get_state`, called on a model made with the same settings.

        The file that `state` was read from may come from anywhere, so a model checks every value before it
        uses it. This default accepts any learnt value; models defined outside the package inherit it.
        """
        for name, field in state.entries().items():
            if not name.endswith("_") or name.startswith("_") or hasattr(type(self), name):
                raise field.refuse(f"nothing of this name in a {type(self).__name__}")
            setattr(self, name, field.value)

    def _check_settings(self) -> None:
        """Refuse settings that `fit` would refuse."""

    def save(self, path: PathLike) -> None:
        """Write settings and learnt values to one safetensors file (no pickle).

        The file is written under a temporary name and then renamed, so an existing file
        stays intact until the new one is complete.
        """
        write_model_file(path, type(self).__name__, self.get_params(), self._get_state())

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a file that `save` wrote; a damaged file, or one of another class, is refused."""
        return cls._restored(*read_model_file(path, cls.__name__)[1:])

    @classmethod
    def _restored(cls, params: Field, state: Field) -> Self:
        """The model with the settings and the learnt values of a file."""
        params.only(cls._param_names())
        with named_errors(params):
            model = cls(**params.value)
            model._check_settings()
        if state.keys():  # else it was never fitted
            model._set_state(state)
        return model


def generator(seed: RandomSource) -> np.random.Generator:
    """A numpy Generator (PCG64) from a seed, or the Generator itself."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed: got {seed!r:.60}, expected None, a whole number >= 0, several of them, or a numpy "
                          "Generator") from None


@contextmanager
def unmoved_by_errors(rng: np.random.Generator) -> Iterator[None]:
    """A block after whose errors a generator, which may be the caller's, is as it was before."""
    before = rng.bit_generator.state
    try:
        yield
    except BaseException:
        rng.bit_generator.state = before
        raise


def _shown(value: Any) -> str:
    """A setting in a repr; an array by its shape alone."""
    return f"<array {value.shape}>" if isinstance(value, np.ndarray) else repr(value)


def _same(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except ValueError:  # arrays
        return False
