"""The recurrent core.

descriptions    what a cell is: its gates, states, weights and their names; one file for each class of layers
base, layers    the base class of the layers; RNN, GRU, LSTM
cells           single steps, with the weights named as in torch's cells
structure       the sizes of a stack of layers, and its parts
layout          the axes of callers' sequences and states, and conversion to and from our own
passes          one layer and direction of a recorded pass, and its backward pass
lookup          products with an input that is rows of a table
tape            a recorded pass with its arrays by name
cotangents, backward, gradients
                what a backward pass begins with, BPTT through all layers, and what it returns
pullback        products with the Jacobian
named           mappings from names to arrays
stream          some steps at a time, keeping the state
ensemble        many nets of one kind and shape in one call
ensemble_arguments, nets, ensemble_tape
                what an ensemble is given, its passes, and a recorded pass of all nets
dropout         masks between layers

    layer(x) ─ layout ─ structure ─ engine           layer.record(x) ─ passes ─ tape ─ backward, pullback
"""
