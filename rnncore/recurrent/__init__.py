"""The recurrent core.

descriptions    what a cell is: gates, states, weights, words; one file for each class of layers
base, layers    what all layers share; RNN, GRU, LSTM
cells           one step, with the weights' names of torch's cells
structure       the sizes of a stack of layers, and which parts it has
layout          how callers lay out sequences and states, and the way from there and back
passes          one layer and direction of a recorded pass, and how it is walked back
tape, pullback  a recorded pass by name, and the ways back through it
stream          one step at a time, with a state that is kept
dropout         masks between layers

    layer(x) ─ layout ─ structure ─ engine           layer.record(x) ─ passes ─ tape ─ backward, pullback
"""
