"""The recurrent core.

layers, cells   RNN, GRU, LSTM: parameters, shapes, errors
run             one layer and direction of a recorded pass
tape, pullback  a recorded pass by name, and the ways back through it
stream          one step at a time
"""
