"""What every other part may import: errors, units, files, progress. It imports nothing of nodewise."""
