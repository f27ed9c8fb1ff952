"""Benchmarks of rnncore: asv suites, the table beside the peers, cost against size.

- ``bench_*.py``      asv suites (``asv run --python=same --quick``)
- ``peers/``          ``python -m benchmarks.peers``: rnncore, torch, ONNX Runtime, JAX in one run
- ``scaling.py``      ``python -m benchmarks.scaling``: how cost grows with T, B and H
- ``cases.py``        what is measured: shapes, seeded arrays, counted operations
- ``twin.py``         the same mathematics in plain numpy, to check every number against

asv imports every module here, so none of them imports a framework at its top.
"""
