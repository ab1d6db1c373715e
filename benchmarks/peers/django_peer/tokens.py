from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, RefreshToken


class RevocableAccessToken(BlacklistMixin["RevocableAccessToken"], AccessToken):
    """simplejwt blacklists refresh tokens only, unless an access token is told to look, too."""


class PairedRefreshToken(RefreshToken):
    access_token_class = RevocableAccessToken
