"""A whole Noukai and its workers on one machine, for development and tests."""
