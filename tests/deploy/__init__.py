"""What is in deploy/ is right."""
