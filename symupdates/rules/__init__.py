"""The update rules, a family a file."""
