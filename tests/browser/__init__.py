"""The simulator's page in a real browser, with a real service behind it."""
