"""What the network used for the score of a segment, and checks of that."""
