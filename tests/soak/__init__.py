"""A long run under constant faults, and the check of everything that was seen."""
