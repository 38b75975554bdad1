"""Preparing, describing and auditing data sets: what `cxrs-edge data` does. No TensorFlow."""
