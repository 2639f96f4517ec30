"""What the network listens to."""
