"""What the machine is, and how arithmetic is done on it."""
