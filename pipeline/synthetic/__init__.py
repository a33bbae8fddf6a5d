"""Synthetic pictures: `sprouts`, a demo competition, and `world`, a set for pretraining.

The same seed gives the same pixels everywhere: every number comes from a PCG64 generator's `random` and `integers`, and
everything between the generator and the picture is rounded to integers before it is drawn.
"""
