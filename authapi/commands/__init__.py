"""What an operator types: the commands of `manage.py`."""
