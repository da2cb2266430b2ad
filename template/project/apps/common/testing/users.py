"""Users and other rows for tests, of whichever models the project has."""

import datetime
import uuid
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, models
from django.utils import timezone

FIX = 'Override the fixture make_user in conftest.py; docs/websockets.md, "Testing", has an example.'
MAX_DEPTH = 5  # of related objects that require others

_numbers = count(1)


def make_user(name: str, *, is_staff: bool = False, **values: Any) -> AbstractBaseUser:
    """A saved user called `name` with the password `<name>-password`; what else the model requires is made up.

    is_staff: with the first value of a field that makes `is_staff` true, which may be a property.
    """
    model = get_user_model()
    if is_staff:
        values = _staff_values(model) | values
    user: AbstractBaseUser = _unsaved(model, name, values, {model.USERNAME_FIELD, *model.REQUIRED_FIELDS})
    user.set_password(f"{name}-password")
    _saved(user)
    return user


def _unsaved(model: type[models.Model], name: str, values: dict[str, Any], named: set[str], depth: int = 0) -> Any:
    fields = [field for field in model._meta.concrete_fields if field.name in named or _is_required(field)]
    missing = [field for field in fields if {field.name, field.attname}.isdisjoint({"password", *values})]
    return model(**{field.name: _sample(field, name, depth) for field in missing} | values)


def _saved(instance: Any) -> Any:
    try:
        instance.save()
    except (ValidationError, IntegrityError, DataError) as error:
        pytest.fail(f"The test kit could not make a {instance._meta.label}: {error}. {FIX}", pytrace=False)
    return instance


def _is_required(field: "models.Field[Any, Any]") -> bool:
    if isinstance(field, models.AutoField) or getattr(field.remote_field, "parent_link", False) or field.generated:
        return False
    if field.null or field.has_default() or field.db_default is not models.NOT_PROVIDED:
        return False
    return not (field.blank and field.empty_strings_allowed)


def make_row(model: str | type[models.Model], **values: Any) -> Any:
    """A saved row of a model, which may be its label: "boards.Board". What else it requires is made up."""
    model = apps.get_model(model) if isinstance(model, str) else model
    return _saved(_unsaved(model, f"row{next(_numbers)}", values, set()))


def _staff_values(model: type[models.Model]) -> dict[str, Any]:
    for field in model._meta.concrete_fields:
        for value in [True] if isinstance(field, models.BooleanField) else [value for value, _ in field.flatchoices]:
            if getattr(model(**{field.name: value}), "is_staff", False):
                return {field.name: value}
    pytest.fail(f"The test kit found no field of {model._meta.label} that makes is_staff true. {FIX}", pytrace=False)


def _sample(field: "models.Field[Any, Any]", name: str, depth: int) -> Any:
    """A value that the field takes, another one for each name. Of several, the first that its validators accept."""
    number = sum(name.encode()) % 1_000
    samples: list[tuple[type[models.Field[Any, Any]], *tuple[Any, ...]]] = [  # a subclass before its base
        (models.EmailField, f"{name}@example.com"),
        (models.URLField, f"https://example.com/{name}"),
        (models.CharField, name, f"{name}-{number:09}", f"+1212555{number:04}", f"{number:09}"),
        (models.TextField, name),
        (models.FileField, f"{name}.png"),
        (models.UUIDField, uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        (models.GenericIPAddressField, f"192.0.2.{number % 256}"),
        (models.BooleanField, False, True),
        (models.DateTimeField, timezone.now()),
        (models.DateField, datetime.date(2000, 1, 1) + datetime.timedelta(days=number)),
        (models.TimeField, datetime.time(12)),
        (models.DurationField, datetime.timedelta(days=1)),
        (models.IntegerField, number),
        (models.FloatField, number),
        (models.JSONField, {}),
    ]
    if field.choices:
        return next(value for value, _ in field.flatchoices if value not in (None, ""))
    if isinstance(field, models.ForeignKey) and depth < MAX_DEPTH:
        related = field.remote_field.model
        found = related._base_manager.complex_filter(field.get_limit_choices_to())
        return (None if field.unique else found.first()) or _saved(_unsaved(related, name, {}, set(), depth + 1))
    if isinstance(field, models.DecimalField):
        return Decimal(number % 10**field.max_digits).scaleb(-field.decimal_places)
    for kind, *values in samples:
        if isinstance(field, kind):
            values = [value[: field.max_length] if isinstance(value, str) else value for value in values]
            return next((value for value in values if _is_valid(field, value)), values[0])
    pytest.fail(f"The test kit has no value for {field}, a required {type(field).__name__}. {FIX}", pytrace=False)


def _is_valid(field: "models.Field[Any, Any]", value: Any) -> bool:
    try:
        field.run_validators(value)
    except ValidationError:
        return False
    return True
