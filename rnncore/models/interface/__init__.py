"""What all sequence models share.

base       `fit`, `log_prob`, `predict`, `sample`, `perplexity`, `score`
estimator  settings as scikit-learn keeps them, and files
exog       inputs that are known at every step besides the sequence
forecasts  forecasts of real values, with intervals
weights    weights of sequences and of classes in training
scale      what counts as zero: the scale of columns, and least squares where they depend on each other
plain      tables, series, masked arrays and lists with gaps as plain arrays
sequences  checks of the sequences that users pass, and alphabets of symbols
storage    one file format for all models
"""
