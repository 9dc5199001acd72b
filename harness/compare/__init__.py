"""Two runs, many runs, and how what came of them is shown."""
