"""Networks with a Lipschitz constant that is known: layers, losses, bounds and certificates of robustness."""
