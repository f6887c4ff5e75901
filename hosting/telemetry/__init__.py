"""Figures of a process, for Prometheus and for its own status page.

Here are histograms, metric families and the port that serves them. Which figures there are is
declared by each process, in its `metrics` and `report`. Begin with `endpoint`.
"""
