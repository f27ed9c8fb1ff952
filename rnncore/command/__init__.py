"""The `rnncore` command, and what only it uses.

cli       the arguments, and one function a subcommand
options   what several subcommands share
debug     five cells on one text: where the gradient of each dies
compare   every kind of model on one text or table
sample    text from a trained model
"""
