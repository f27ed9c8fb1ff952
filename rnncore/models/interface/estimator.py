"""Settings as scikit-learn keeps them, files, and the small checks that all models use.

Settings are what `__init__` takes, kept under the same names and never changed
by `fit`; what is learnt ends in an underscore. So `sklearn.base.clone` and its
searches work, without depending on it.
"""

from __future__ import annotations

import inspect

import numpy as np

from rnncore.io.fields import named_errors

from .storage import read_model_file, write_model_file


class NotFittedError(ValueError, AttributeError):
    """A model was used before `fit`. With scikit-learn installed, also its NotFittedError."""


def check_fitted(model, attribute):
    """Raise `NotFittedError` unless `model` has the learnt `attribute`."""
    if hasattr(model, attribute):
        return
    kind = type(model).__name__
    try:  # only now: importing scikit-learn takes longer than importing all of rnncore
        from sklearn.exceptions import NotFittedError as theirs
        error = type("NotFittedError", (NotFittedError, theirs), {"__module__": __name__})
    except ImportError:
        error = NotFittedError
    raise error(f"{kind}: not fitted yet, it has no {attribute}; call fit(sequences) first, "
                f"or {kind}.load(path)")


def check_option(name, value, options):
    """Refuse a setting that is none of `options`, by name."""
    if value not in options:
        raise ValueError(f"{name}: got {value!r}, expected one of "
                         + ", ".join(map(repr, options)))
    return value


class Estimator:
    """Settings as scikit-learn keeps them, and files without pickle."""

    _estimator_type = None

    @classmethod
    def _param_names(cls):
        return sorted(p.name for p in inspect.signature(cls.__init__).parameters.values()
                      if p.name != "self")

    def get_params(self, deep=True):
        """The settings, by name, as `__init__` takes them."""
        return {name: getattr(self, name) for name in self._param_names()}

    def set_params(self, **params):
        """Change settings by name; returns self. Takes effect at the next `fit`."""
        known = self._param_names()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"set_params: got {name!r}, expected one of {known}")
            setattr(self, name, value)
        return self

    def __repr__(self):
        signature = inspect.signature(type(self).__init__).parameters
        shown = [f"{name}={getattr(self, name)!r}" for name, p in signature.items()
                 if name != "self" and not _same(getattr(self, name), p.default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags
        kind = self._estimator_type
        return Tags(estimator_type=kind, target_tags=TargetTags(required=kind is not None),
                    classifier_tags=ClassifierTags() if kind == "classifier" else None,
                    regressor_tags=RegressorTags() if kind == "regressor" else None,
                    input_tags=InputTags(two_d_array=False, three_d_array=True, string=True))

    def __sklearn_is_fitted__(self):
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    # -- files ------------------------------------------------------------
    def _get_state(self):
        """What was learnt: a dict of arrays, numbers, strings and lists of them."""
        return {name: value for name, value in vars(self).items()
                if name.endswith("_") and not name.startswith("_")}

    def _set_state(self, state):
        """The inverse of `_get_state`, called on a model made with the same settings.

        `state` is a `rnncore.io.fields.Field` of a file that may come from anywhere: a model takes
        over what it has checked. This one takes any learnt value, for models that others write.
        """
        for name, field in state.entries().items():
            if not name.endswith("_") or name.startswith("_") or hasattr(type(self), name):
                raise field.refuse(f"nothing of this name in a {type(self).__name__}")
            setattr(self, name, field.value)

    def _check_settings(self):
        """Refuse settings that `fit` would refuse."""

    def save(self, path):
        """Write settings and learnt values to one safetensors file (no pickle).

        The file is written under a temporary name and renamed, so an old file
        stays whole until the new one is.
        """
        write_model_file(path, type(self).__name__, self.get_params(), self._get_state())

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; a damaged file, or another class's, is refused."""
        return cls._restored(*read_model_file(path, cls.__name__)[1:])

    @classmethod
    def _restored(cls, params, state):
        """The model of a file's `Field`s."""
        params.only(cls._param_names())
        with named_errors(params):
            model = cls(**params.value)
            model._check_settings()
        if state.keys():  # else it was never fitted
            model._set_state(state)
        return model


def generator(seed):
    """A numpy Generator (PCG64) from a seed, or the Generator itself."""
    return np.random.default_rng(seed)


def _same(a, b):
    try:
        return a is b or bool(a == b)
    except ValueError:  # arrays
        return False
