"""The package's own files. Nothing in them is executed when they are read.

files         writing a file, in one step: readers see the old content or the new, never a part
safetensors   named arrays and a JSON value: checkpoints, models
fields        checked access to what was read; an error names the file and the field
"""
