"""Django REST framework and simplejwt with its blacklist app, as their documentation has them.

Which also has it that a login notes its refresh token in a row, and that a refresh blacklists one
and notes the next. A log-out blacklists the access token that it comes with.
"""
