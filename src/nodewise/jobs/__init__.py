"""The built-in jobs: what each partition is, what a task does with it, how results combine. They know no engine."""
