"""The command line. Tables go to standard output; progress, notes and errors to standard error."""
