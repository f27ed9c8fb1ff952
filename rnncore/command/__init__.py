"""The `rnncore` command, and what only it uses.

cli         the arguments of all, and how what goes wrong is said
all_cells   `rnncore debug`: all cells on one text, and where the gradient of each dies
train       one model on one text
sample      text from a trained model
info        the machine and the build
compare     every kind of model on one text or table
options     what several of these share
text_model  the checkpoints that train writes and sample reads
"""
