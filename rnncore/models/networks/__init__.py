"""Models whose memory is the state of a recurrent net.

recurrent   the next element of a sequence
classifier  a sequence to one label or number
build       the network of both, from the settings or from a file
feed        sequences as the windows that a network is trained on and reads
"""
