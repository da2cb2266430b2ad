"""manage.py check: writes of a live model that would not reach the pages."""

from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.db import models
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template

from apps.common.live.declaration import LiveModel
from apps.common.live.publishing import declarations, family, path
from apps.common.live.queryset import LiveQuerySet


@register
def check_live_models(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for declared in declarations:
        found += _check_manager(declared.model, path(declared))
        if declared.parent:
            found += _check_parent(declared)
        if declared.template:
            found += _check_template(declared)
        for model in family(declared.model):
            found += _check_deletion(model, path(declared))
    return found


def publishes_all(model: type[models.Model]) -> bool:
    """Whether each write of the model's managers is published, and not only those that send signals."""
    return all(isinstance(each.all(), LiveQuerySet) for each in (model._default_manager, model._base_manager))


def _check_manager(model: type[models.Model], where: str) -> list[CheckMessage]:
    if publishes_all(model):
        return []
    return [
        Warning(
            f"{model._meta.label} is live in {where}, but update(), delete(), bulk_create() and SET_NULL are not.",
            hint=(
                f"In {model.__module__}: `objects = LiveQuerySet.as_manager()`, of apps.common.live.queryset, and in "
                '`class Meta`: `base_manager_name = "objects"`. LiveQuerySet may be the base of your own query set.'
            ),
            obj=model,
            id="common.W008",
        )
    ]


def _check_parent(declared: type[LiveModel]) -> list[CheckMessage]:
    parent, message = declared.related(declared.scope), declared.parent
    assert message
    missing = [name for name in message.model_fields if name != "label" and not hasattr(parent, name)]
    is_own = "site-packages" not in Path(parent._meta.app_config.path).parts
    return (_check_manager(parent, path(declared)) if is_own else []) + [
        Error(
            f"{message.__module__}: {message.__name__}.{name} is no attribute of {parent._meta.label}.",
            hint="Remove it there, or name a column, a property, or a method without arguments.",
            obj=declared,
            id="common.E019",
        )
        for name in missing
    ]


def _check_template(declared: type[LiveModel]) -> list[CheckMessage]:
    problem = "" if "html" in declared.row.model_fields else f"{declared.row.__name__} has no field html: str"
    try:
        get_template(declared.template)
    except (TemplateDoesNotExist, TemplateSyntaxError) as error:
        problem = f"{type(error).__name__}: {error}"
    where = f"{path(declared)}.template"
    hint = "Correct it, or remove `template`: then the page draws the rows."
    return [Error(f"{where}: {problem}.", hint=hint, obj=declared, id="common.E020")] if problem else []


def _check_deletion(model: type[models.Model], where: str) -> list[CheckMessage]:
    """A foreign key with which the database deletes or changes rows, of which Django sends no signal."""
    names = ("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT")  # since Django 6.1
    kinds = [getattr(models, name) for name in names if hasattr(models, name)]
    return [
        Error(
            f"{field} is changed by the database itself, so that the pages of {where} do not see it.",
            hint="Use models.CASCADE, SET_NULL or SET_DEFAULT.",
            obj=model,
            id="common.E018",
        )
        for field in model._meta.local_fields
        if isinstance(field, models.ForeignKey) and field.remote_field.on_delete in kinds
    ]
