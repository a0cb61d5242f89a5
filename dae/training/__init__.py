"""Training: settings, the compiled step, the epoch loop, `fit`, and the run directory."""
