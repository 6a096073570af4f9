"""Documents for people to keep: pure, the same bytes for the same facts."""
