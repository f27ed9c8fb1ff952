"""Models whose memory is the state of a recurrent net.

recurrent      predicts the next element of a sequence
continuations  what may follow: samples, forecasts, the most probable continuation
classifier     predicts one label or number from a sequence
build          makes the network of both, from the settings or from a file
feed           turns sequences into the windows that are a network's input
"""
