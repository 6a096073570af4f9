"""One stream's audience on more machines than there are: a simulation made of what was measured."""
