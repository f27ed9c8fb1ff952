"""The recurrent core.

descriptions    what a cell is: its gates, states, weights and their names; one file for each class of layers
base, layers    the base class of the layers; RNN, GRU, LSTM
cells           single steps, with the weights named as in torch's cells
structure       the sizes of a stack of layers, and its parts
layout          the axes of callers' sequences and states, and conversion to and from our own
passes          one layer and direction of a recorded pass, and its backward pass
lookup          products with an input that is rows of a table
tape, named     a recorded pass with its arrays by name
backward        BPTT through a recorded pass, from cotangents to gradients: with cotangents and gradients
pullback        products with the Jacobian
stream          some steps at a time, keeping the state
ensemble, nets  many nets of one kind and shape in one call; their passes
dropout         masks between layers

    layer(x) ─ layout ─ structure ─ engine           layer.record(x) ─ passes ─ tape ─ backward, pullback
"""
