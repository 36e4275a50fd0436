"""Looks at an installation, and says what breaks a promise or costs more than it has to, each with its remedy.

Facts are gathered in one place and judged in another, by pure functions. Nothing is changed, and no secret is shown.
A worker's start passes through here and does not look yet (step.py), so nothing is imported before somebody does.
"""
