"""Whole models (`benchmarks.models`) in each library: one call is one update of training.

An update takes the next batch, computes the loss and all gradients, clips them to a joint norm of 1, and takes a step
of Adam. It returns the loss as a number, which training loops print.
"""
