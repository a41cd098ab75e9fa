"""Event logs of Spark applications: found, unpacked, read line by line, and turned into records of tasks and stages.

:func:`nodewise.eventlogs.reader.read_application` reads a whole log; :class:`nodewise.eventlogs.reader.LogReader` hands
the tasks on one by one, for logs that are larger than memory.
"""
