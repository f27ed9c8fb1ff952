"""Models whose memory is the state of a recurrent net.

recurrent   the next element of a sequence
classifier  a sequence to one label or number
networks    how both are built, trained and kept in a file
feed        sequences as the arrays that a network reads
"""
