"""Users for tests, of whichever user model the project has."""

import datetime
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.utils import timezone


def make_user(name: str, **values: Any) -> AbstractBaseUser:
    """A saved user called `name` with the password `<name>-password`; what else the model requires is made up."""
    model = get_user_model()
    named = {model.USERNAME_FIELD, *model.REQUIRED_FIELDS}
    required = [field for field in model._meta.concrete_fields if field.name in named or _is_required(field)]
    samples = {field.name: _sample(field, name) for field in required if field.name not in {"password", *values}}
    user = model(**samples | values)
    user.set_password(f"{name}-password")
    user.save()
    return user


def _is_required(field: "models.Field[Any, Any]") -> bool:
    return not (field.null or field.blank or field.has_default() or field.primary_key)


def _sample(field: "models.Field[Any, Any]", name: str) -> Any:
    """A value that the field takes, another one for each name."""
    number = sum(name.encode()) % 1_000
    samples: list[tuple[type[models.Field[Any, Any]], Any]] = [  # a subclass before its base
        (models.EmailField, f"{name}@example.com"),
        (models.URLField, f"https://example.com/{name}"),
        (models.CharField, name[: field.max_length]),
        (models.TextField, name),
        (models.UUIDField, uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        (models.BooleanField, False),
        (models.DateTimeField, timezone.now()),
        (models.DateField, datetime.date(2000, 1, 1)),
        (models.TimeField, datetime.time(12)),
        (models.DurationField, datetime.timedelta(days=1)),
        (models.IntegerField, number),
        (models.FloatField, number),
        (models.DecimalField, 0),
        (models.JSONField, {}),
    ]
    if field.choices:
        return next(value for value, _ in field.flatchoices if value not in (None, ""))
    for kind, value in samples:
        if isinstance(field, kind):
            return value
    pytest.fail(
        f"The test kit has no value for {field}, a required {type(field).__name__}. Override the fixtures user, "
        "other_user and staff_user in conftest.py.",
        pytrace=False,
    )
