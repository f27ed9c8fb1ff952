"""Files: tensors and checkpoints as safetensors. Nothing here is executed when it is read."""
