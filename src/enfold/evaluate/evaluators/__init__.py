"""Models scored on data: a task's pipeline answers, metrics judge, and times are taken."""
