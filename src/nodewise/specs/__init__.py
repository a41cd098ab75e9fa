"""What people ask for and what happened, as frozen dataclasses: jobs, clusters, scenarios, runs, results."""
