"""Many nets of one shape at once (`benchmarks.ensembles`) in each library, and one net with as many rows."""
