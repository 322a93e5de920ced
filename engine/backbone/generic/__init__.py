"""Any causal language model of transformers, trained for n devices at once.

The stock model stays as it is, but for its linear layers: each computes with what the pass brings
that runs through it, such as a pair of factors per device.
"""
