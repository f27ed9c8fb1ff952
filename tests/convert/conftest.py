"""Settings of the tests of rnncore.convert."""

import os

# Keras reads this when it is imported; torch is a backend that the tests have anyway.
os.environ.setdefault("KERAS_BACKEND", "torch")
