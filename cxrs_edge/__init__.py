"""Airspace severity from one chest X-ray, on the device: COVID-Net CXR-S in a few lines.

>>> from cxrs_edge import Grader
>>> Grader.bundled().grade("scan.png").level  # doctest: +SKIP
2

Research software: not a medical device, not for patient care.
"""
