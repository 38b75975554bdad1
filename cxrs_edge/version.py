"""The version of cxrs-edge, in one place."""

__version__ = "0.1.0"
