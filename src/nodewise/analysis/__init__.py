"""Records in, numbers and sentences out: what a scenario took, how scenarios compare, and what to conclude."""
