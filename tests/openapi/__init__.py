"""The description for machines."""
