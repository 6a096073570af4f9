"""What the questions share: starting systems, people and rooms, load generators, peers, figures."""
