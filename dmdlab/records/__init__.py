"""Runs read back from their folders, and combined over seeds: numpy only."""
