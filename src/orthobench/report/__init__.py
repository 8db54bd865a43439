"""Tables, plots and pages. Reads result files only: imports no method, no harness and no torch."""
