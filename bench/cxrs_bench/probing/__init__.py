"""What lies behind a time: operators as the engines' own profilers see them, and the peaks of this machine.

Everything that runs an engine here does so in a process of its own (`cxrs_bench.probing.apart`).
"""
