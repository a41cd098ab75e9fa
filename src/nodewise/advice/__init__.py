"""Which configuration to run a job on next: search spaces, what is believed of a job, proposals, and when to stop."""
