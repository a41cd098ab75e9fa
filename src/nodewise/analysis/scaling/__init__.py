"""How the time of a job depends on the number of nodes: laws, what can be believed, and what to measure next."""
