"""Models whose memory is a hidden state that takes one of a few values.

chain_model    the base class of both models: fit by expectation maximisation, paths, posteriors
hidden_markov  symbols or Gaussian vectors whose distribution depends on a hidden state
switching      autoregressions between which a hidden state switches
em             the E-step: recursions over time and sums over all sequences, on several threads
emissions      the likelihoods and the M-step of hidden_markov
start          initial values of a fit: k-means

Of switching alone:

regimes          the likelihoods, and the M-step of the regressions
transitions      the steady state, and the M-step of the transition probabilities
settings         the regimes on which a step depends, as one state, and the structure of their transitions
settings_passes  the recursions over time that use this structure
regime_fit       a fit: standard units, starts, steps
acceleration     steps that are extrapolated
"""
