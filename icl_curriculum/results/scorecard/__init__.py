"""The scorecard: what every learner of a frozen benchmark scores on each of its axes, from tables alone."""
