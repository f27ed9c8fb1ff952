"""The `rnncore` command; nothing else uses this package.

cli         the parser of all subcommands, and the messages of errors
all_cells   `rnncore debug`: trains all cells on one text and shows where the gradient of each dies
train       trains one model on one text
sample      generates text with a trained model
info        shows the machine and the build
compare     fits every kind of model to one text or table
options     options and functions that several subcommands share
text_model  the checkpoints that train writes and sample reads
"""
