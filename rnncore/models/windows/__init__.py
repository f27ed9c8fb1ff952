"""Models whose memory is a fixed window of the past.

autoregressive  a linear prediction of real values
regression      its least squares by QR, and normal densities with missing values
markov          counts of the symbols that follow a context
contexts        the tree of contexts that occur, with their counts
"""
