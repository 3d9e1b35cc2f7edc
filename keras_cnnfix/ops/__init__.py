"""Pure functions from tensors to tensors, on `keras.ops`: no layers, no state.

Every function takes its `data_format` explicitly.
"""
