"""Training: settings, the compiled step, the epoch loop, checkpoints and run directories."""
