"""Arrays drawn as pictures: tiles and curves."""
