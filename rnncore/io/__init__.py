"""The package's own files, and safetensors files of others. Nothing in them is executed when they are read.

files         writing a file, in one step: readers see the old content or the new, never a part
safetensors   named arrays and a JSON value: checkpoints, models; the tensors of any safetensors file
fields        checked access to what was read; an error names the file and the field
"""

from rnncore.io.safetensors import DamagedFileError, read_safetensors

__all__ = ["DamagedFileError", "read_safetensors"]


def __dir__() -> list[str]:
    return sorted(__all__)
