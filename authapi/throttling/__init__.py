"""How often callers may try: logins, and those that fail, are counted."""
