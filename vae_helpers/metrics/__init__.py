"""Measures of a model, each in its own module; none knows a figure or the classifier."""
