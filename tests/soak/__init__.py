"""A long run in which everything breaks all the time, and the check of all that was seen."""
