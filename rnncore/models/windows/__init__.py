"""Models whose memory is a fixed window of the past.

autoregressive  linear in real values         regression  its least squares
markov          counts of symbols             contexts    their tree
"""
