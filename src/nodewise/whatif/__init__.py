"""A recorded run as a program of stages and tasks, replayed on clusters of other shapes.

:mod:`~nodewise.whatif.build` makes a program of what was recorded, in an event log
(:mod:`~nodewise.whatif.event_log`) or a run's task records (:mod:`~nodewise.whatif.run`);
:mod:`~nodewise.whatif.shape` fits its tasks to another cluster, :mod:`~nodewise.whatif.simulate` schedules them there,
:mod:`~nodewise.whatif.account` says what the cores did, and :mod:`~nodewise.whatif.replay` puts all of it together.
"""
