"""HTTP resources beyond a task's life cycle: lists, control, settings, limits, schedules."""
