"""One small layer, step after step (`benchmarks.steps`): inside a call, in blocks of a stream, in steps of a stream."""
