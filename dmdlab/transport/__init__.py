"""Optimal transport between two samples: numpy, exact or certified; `on_gpu` alone knows torch."""
