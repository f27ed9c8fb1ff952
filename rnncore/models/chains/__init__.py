"""Models whose memory is a hidden state of a few values.

hidden_markov  emissions from a hidden state     chain_model  what both share
switching      regimes of an autoregression      em           expectation-maximisation
emissions, regimes: what a state makes likely; start: where the fit begins
"""
