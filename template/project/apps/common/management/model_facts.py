"""Facts that Django knows of models, for the template: fields, keys and names of a model that exists, and the keys of
those that foreign keys point to.

Fields are as the template's grammar has them: {"name": "item", "type": "str", "max": 200, "optional": False}.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from apps.common.management.scaffold import PROJECT
from apps.common.websockets.messages import Message

Facts: TypeAlias = dict[str, Any]
Column: TypeAlias = "models.Field[Any, Any]"

MAX_TEXT = 10_000
MAX_CHOICES = 50
SAFE = 2**53 - 1
INTEGERS_OF_32_BITS = (-(2**31), 2**31 - 1)
# Of a message of a live model, or of a browser's form.
TAKEN = frozenset({"after", "opened", "id", "append", "constructor", "dataset", "elements", "reset", "then"})
SECRET = re.compile("password|passwd|secret|token|api_key|session_data")
NAMES = ("name", "title", "label", "code", "slug", "email")
# A subclass comes before its base.
TYPES: list[tuple[type[Column], str]] = [
    (models.BooleanField, "bool"),
    (models.SlugField, "slug"),
    (models.EmailField, "email"),
    (models.URLField, "url"),
    (models.CharField, "str"),
    (models.TextField, "text"),
    (models.GenericIPAddressField, "str"),
    (models.FileField, "str"),
    (models.IntegerField, "int"),
    (models.FloatField, "float"),
    (models.DecimalField, "decimal"),
    (models.DateTimeField, "datetime"),
    (models.DateField, "date"),
    (models.TimeField, "time"),
    (models.UUIDField, "uuid"),
    (models.JSONField, "json"),
]
TEXTS = ("str", "text", "slug", "email", "url")


@dataclass
class Found:
    """facts: for the template. errors: why there are none. left_out: columns that do not travel, with the reason.
    manager_fix: what the owner adds, for update() and bulk_create() to reach the pages.
    """

    facts: Facts = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    manager_fix: str = ""


def read_facts(answer: str, feature: str) -> Found:
    """For the answer `model`: "Order item:str board:fk:boards.Board" is a new model, "shop.Order" one that is there."""
    first, *words = answer.split() or [""]
    if "." in first and ":" not in first:
        return _existing(first)
    found = Found()
    targets = [target for word in words for target in re.findall(r"^\w+:fk:([\w.]+)", word)]
    others = [target for target in targets if target != f"{feature}.{first}"]
    related = [target for target in others if re.fullmatch(r"user|\w+\.\w+", target)]
    found.facts["related"] = {target: facts for target in related if (facts := _related(target, found))}
    return found


def _existing(label: str) -> Found:
    found = Found()
    model = _find(label, found)
    if model is None or (key := _key(model, found)) is None:
        return found
    columns = list(_columns(model, found))
    if not columns:
        found.errors.append(f"model '{label}' has no field that can travel.")
    found.manager_fix = _manager_fix(model)
    targets = {column["to"] for column in columns if column["type"] == "fk"}
    found.facts = {
        "label": label,
        "module": model.__module__,
        "is_own": _is_own(model),
        "key": key,
        "can_add": _gives_keys(model, found),
        "ordering": _ordering(model),
        "fields": columns,
        "related": {target: facts for target in sorted(targets) if (facts := _related(target, found))},
    }
    return found


def _manager_fix(model: type[models.Model]) -> str:
    from apps.common.live.checks import publishes_all  # a project may have removed it

    if publishes_all(model):
        return ""
    if not _is_own(model):
        return f"What update() and bulk_create() of {model._meta.label} change does not reach the pages by itself."
    return f"""For update() and bulk_create() to reach the pages, add to {model.__name__} in {model.__module__}:

    objects = LiveQuerySet.as_manager()    # from apps.common.live.queryset import LiveQuerySet

    class Meta:
        base_manager_name = "objects"      # for what Django changes with related rows"""


def _find(label: str, found: Found) -> type[models.Model] | None:
    app, _, name = label.rpartition(".")
    if app not in apps.app_configs:
        near = get_close_matches(app, apps.app_configs, 1)
        found.errors.append(f"model '{label}': no installed app has the label '{app}'{_did_you_mean(near)}")
        return None
    names = [each.__name__ for each in apps.get_app_config(app).get_models()]
    if name not in names:
        near = get_close_matches(name, names, 1, 0.5) or [each for each in names if each.lower() == name.lower()]
        found.errors.append(f"model '{label}': the app {app} has no model {name}{_did_you_mean(near, names)}")
        return None
    return apps.get_model(label)


def _did_you_mean(near: list[str], names: list[str] | None = None) -> str:
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it has: {', '.join(names)}." if names else "."


def _key(model: type[models.Model], found: Found) -> Facts | None:
    """The key's type: that of the parent for multi-table inheritance and for a key that is a foreign key."""
    key: Any = model._meta.pk
    while isinstance(key, models.ForeignKey):
        key = key.target_field
    if isinstance(key, models.IntegerField | models.AutoField):
        return {"type": "int"}
    if isinstance(key, models.UUIDField):
        return {"type": "uuid"}
    if isinstance(key, models.CharField):
        return {"type": "str", "max": min(key.max_length or MAX_TEXT, MAX_TEXT)}
    kind = type(key).__name__
    fix = "A live model needs one column as its key: an integer, a UUID or a text."
    found.errors.append(f"model '{model._meta.label}' has the key {kind}. {fix}")
    return None


def _gives_keys(model: type[models.Model], found: Found) -> bool:
    """Whether a new row gets its key by itself. No form asks for one, since it must never change."""
    key: Any = model._meta.pk
    while getattr(key.remote_field, "parent_link", False):
        key = key.target_field
    if isinstance(key, models.AutoField) or key.has_default() or key.db_default is not models.NOT_PROVIDED:
        return True
    found.left_out.append(f"{key.name} (the key, by which pages know a row; they add none)")
    return False


def _columns(model: type[models.Model], found: Found) -> Iterator[Facts]:
    """Those that travel. Every other one is named in found.left_out."""
    for many in model._meta.many_to_many:
        found.left_out.append(f"{many.name} (many-to-many: make its link a live model)")
    for generic in model._meta.private_fields:
        found.left_out.append(f"{generic.name} (a generic relation has no column)")
    for column in model._meta.concrete_fields:
        if column.primary_key or getattr(column.remote_field, "parent_link", False):
            continue
        facts, reason = _column(column)
        if reason:
            found.left_out.append(f"{column.name} ({reason})")
        else:
            yield {"name": column.name, **facts}


def _column(column: Column) -> tuple[Facts, str]:
    """The facts of a column, and the reason why it cannot travel."""
    if column.name in TAKEN or hasattr(Message, column.name):
        return {}, "a message uses this name itself"
    if SECRET.search(column.name):
        return {}, "it looks secret"
    is_generated = bool(getattr(column, "generated", False))
    typed: Any = column.output_field if is_generated else column  # type: ignore[attr-defined]
    facts = _foreign_key(typed) if isinstance(typed, models.ForeignKey) else _typed(typed)
    if not facts:
        return {}, f"a {type(typed).__name__} does not travel"
    is_text = facts["type"] in TEXTS or isinstance(facts.get("values", [0])[0], str)
    facts["optional"] = bool(column.null or (column.blank and is_text))
    if not column.editable or is_generated or isinstance(column, models.FileField):
        facts["read_only"] = True
        facts["has_default"] = column.has_default()
        facts["is_file"] = isinstance(column, models.FileField)
    return facts, ""


def _foreign_key(column: "models.ForeignKey[Any, Any]") -> Facts:
    return {"type": "fk", "to": _target(column.remote_field.model)}


def _target(model: type[models.Model]) -> str:
    return "user" if model._meta.label == settings.AUTH_USER_MODEL else model._meta.label


def _typed(column: Column) -> Facts:
    type_ = next((name for kind, name in TYPES if isinstance(column, kind)), "")
    if type_ in TEXTS:
        return _choices(column) or {"type": type_, "max": min(column.max_length or MAX_TEXT, MAX_TEXT)}
    if type_ in ("int", "float"):
        return (type_ == "int" and _choices(column)) or {"type": type_, **_bounds(column)}
    if isinstance(column, models.DecimalField):
        return {"type": type_, "digits": column.max_digits, "places": column.decimal_places}
    return {"type": type_} if type_ else {}


def _choices(column: Column) -> Facts:
    """Its values with their labels, if all of them are words or integers. Other choices are those of any value."""
    pairs = [(value, str(label)) for value, label in column.flatchoices if value not in (None, "")]
    are_words = all(re.fullmatch(r"[\w-]+", str(value), re.ASCII) for value, _ in pairs)
    if not are_words or not 0 < len(pairs) <= MAX_CHOICES:
        return {}
    labels = {str(value): label for value, label in pairs if re.fullmatch(r"""[^"'{}%<>\\\n]+""", label)}
    return {"type": "enum", "values": [value for value, _ in pairs], "labels": labels}


def _bounds(column: Column) -> Facts:
    """Both bounds as text, or none. Those of 32 bits are what every integer has."""
    limits: dict[type, list[Any]] = {MinValueValidator: [], MaxValueValidator: []}
    for validator in column.validators:
        limit = getattr(validator, "limit_value", None)  # it may be a function
        for kind, found in limits.items():
            if isinstance(validator, kind) and isinstance(limit, int | float):
                found.append(limit)
    if not all(limits.values()):
        return {}
    least, most = max(-SAFE, *limits[MinValueValidator]), min(SAFE, *limits[MaxValueValidator])
    is_given = (least, most) not in (INTEGERS_OF_32_BITS, (-SAFE, SAFE)) and least <= most
    return {"least": f"{least}", "most": f"{most}"} if is_given else {}


def _related(target: str, found: Found) -> Facts | None:
    """The key's type of a foreign key's model, and the attribute by which people know it; empty without one."""
    model = _find(settings.AUTH_USER_MODEL if target == "user" else target, found)
    if model is None or (key := _key(model, found)) is None:
        return None
    texts = [each.name for each in model._meta.concrete_fields if isinstance(each, models.CharField)]
    named = [name for name in NAMES if name in texts]
    label = str(getattr(model, "USERNAME_FIELD", "")) or next(iter(named), "")
    return {"key": key, "label": label}


def _ordering(model: type[models.Model]) -> list[str]:
    """Its names; empty if one is an expression, or random."""
    ordering = list(model._meta.ordering or [])
    names = [each for each in ordering if isinstance(each, str) and each != "?"]
    return names if len(names) == len(ordering) else []


def _is_own(model: type[models.Model]) -> bool:
    """Whether it is the project's code, which imports sort apart from packages."""
    path = Path(getattr(sys.modules[model.__module__], "__file__", None) or "/")
    return path.is_relative_to(PROJECT) and "site-packages" not in path.parts
