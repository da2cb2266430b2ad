"""The project's user. A change of its key or of its sign-in belongs before the first `manage.py migrate`."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    pass
