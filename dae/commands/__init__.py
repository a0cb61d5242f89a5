"""The commands: one thin file each, and the console that they share."""
