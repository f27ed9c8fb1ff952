"""What all sequence models share.

base       `fit`, `log_prob`, `predict`, `sample`, `perplexity`, `score`
estimator  settings as scikit-learn keeps them, and files
sequences  checks of the sequences that users pass, and alphabets of symbols
storage    one file format for all models
"""
