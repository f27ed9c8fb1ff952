"""Models whose memory is a hidden state of a few values.

chain_model    the base class of both models: fit by expectation maximisation, paths, posteriors
hidden_markov  symbols or Gaussian values that a hidden state makes likely
switching      autoregressions between which a hidden state switches
em             the sums of the E-step over all sequences, shared among threads
emissions      the likelihoods of hidden_markov    regimes  ... of switching
start          values to begin a fit with: k-means
"""
