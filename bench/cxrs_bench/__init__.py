"""Measurement of models, engines and labelled sets; needs no TensorFlow."""
