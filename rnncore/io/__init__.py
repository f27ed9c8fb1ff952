"""Files of our own. Nothing in them is executed when they are read.

files         how anything is written: whole or not at all, and over nothing but a file
safetensors   named arrays and a JSON value: checkpoints, models
fields        what was read, looked at piece by piece: checked, and refused by its name
"""
