"""Training: settings, the step, the epoch loop, early stopping, `fit`, and the run directory."""
