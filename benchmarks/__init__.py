"""Benchmarks of rnncore: asv suites, a comparison with other libraries, cost against size.

- ``bench_*.py``      asv suites (``asv run --python=same --quick``)
- ``peers/``          ``python -m benchmarks.peers``: rnncore, torch, ONNX Runtime and JAX side by side
- ``scaling.py``      ``python -m benchmarks.scaling``: how cost grows with T, B and H
- ``cases.py``        what is measured: shapes, arrays drawn from a seed, numbers of operations
- ``twin.py``         the same computations in plain numpy, with which all results are compared

asv imports every module here, so no module imports a framework at its top.
"""
