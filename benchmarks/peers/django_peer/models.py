from django.db import models


class Client(models.Model):
    """Takes the place of Django's user, so that simplejwt knows whose tokens they are."""

    id = models.CharField(primary_key=True, max_length=20)
    name = models.TextField()
    scopes = models.TextField()
    created_at = models.IntegerField()
    digest = models.CharField(max_length=64, unique=True)

    USERNAME_FIELD = "id"
    REQUIRED_FIELDS: list[str] = []
    is_active = is_authenticated = True
    is_anonymous = False

    class Meta:
        db_table = "clients"
        managed = False
