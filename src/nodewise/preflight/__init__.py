"""What would fail, found before anything is started: one call, all findings at once, each with its remedy."""
