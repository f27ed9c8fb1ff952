"""Models whose memory is a fixed window of the past.

autoregressive  a linear prediction of real values
orders          the regression of one order, and the criterion that compares them
regression      its least squares by QR, and normal densities with missing values
gaps            its expectation maximisation where values are missing
markov          counts of the symbols that follow a context
contexts        the tree of contexts that occur, with their counts
"""
