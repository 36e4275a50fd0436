"""Celery's side: the two tasks, their settings, and the one place where an attempt's failure is judged."""
