"""How hard Hypothesis looks: the same for every property here, and never by the clock.

A deadline for each example would judge the machine and its other work, not the code.
"""

from hypothesis import settings

bounded = settings(max_examples=100, deadline=None)
thorough = settings(max_examples=400, deadline=None)
