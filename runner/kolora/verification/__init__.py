"""Verify: a stranger's submission opened safely, drawn again, compared, and given a verdict."""
