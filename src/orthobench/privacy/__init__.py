"""Private training: bounds on gradients from the network alone, noise, and what it costs in (epsilon, delta)."""
