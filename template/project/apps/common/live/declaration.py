"""The declaration in a feature's live.py: the rows of a page, who sees them, and who may change them."""

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import models, router
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.safestring import SafeString, mark_safe

from apps.common.live.messages import Related
from apps.common.live.publishing import declarations
from apps.common.websockets.messages import Message

if TYPE_CHECKING:
    from django.contrib.auth.models import _AnyUser as AnyUser
else:
    AnyUser = object  # AUTH_USER_MODEL, or AnonymousUser


class LiveModel:
    """The rows that pages of a feature show. It reads like a ModelAdmin; no instance of it is made."""

    model: ClassVar[type[Model]]
    row: ClassVar[type[Message]]  # its fields are the columns that leave the server; `id` is the primary key
    saved: ClassVar[type[Message]]  # a row, and `after`: the key of the row before it, None for the first
    deleted: ClassVar[type[Message]]  # `id`
    scope: ClassVar[str] = ""  # the foreign key to the object that all rows of a page belong to: a parent, or an owner
    parent: ClassVar[type[Message] | None] = None  # with what pages show of that object: attributes, `label` its text
    template: ClassVar[str] = ""  # that draws a row: `row` then has `html`, which pages show as it is
    labels: ClassVar[dict[str, str]] = {}  # by foreign key: the attribute of the related object that pages show
    limit: ClassVar[int] = 200  # rows of a page
    shows_last: ClassVar[bool] = False  # the last ones of the order rather than the first, as in a conversation
    reread_seconds: ClassVar[float] = 0  # above 0 for a query that changes with the clock: how often it is read

    fields: ClassVar[Sequence[str]] = ()  # of `row`, without `id` and `html`; found when the class is made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "model"):
            return  # a base class
        if len(getattr(cls.model._meta, "pk_fields", ())) > 1:
            raise ImproperlyConfigured(f"{cls.__module__}.{cls.__name__}: {cls.model.__name__} has a composite key.")
        others = ("id", "html") if cls.template else ("id",)
        cls.fields = [name for name in cls.row.model_fields if name not in others]
        for name in [*cls.fields, *([cls.scope] if cls.scope else [])]:
            _check_field(cls, name)
        if cls.parent and not cls.scope:
            raise ImproperlyConfigured(f"{cls.__module__}.{cls.__name__}: a parent needs a scope, its foreign key.")
        declarations.append(cls)

    # -----------------------------------------------------------------------------------------------------------------
    # To override
    # -----------------------------------------------------------------------------------------------------------------

    @classmethod
    def queryset(cls) -> QuerySet[Any]:
        """Override to say which rows, in which order. Called whenever they are read."""
        return cls.model._default_manager.all()

    @classmethod
    def audience(cls, user: AnyUser) -> Hashable:
        """Override where not everybody sees the same: what decides it, such as user.is_staff. The rows are read once
        for each value, so there should be few. None: everybody sees the same."""
        return None

    @classmethod
    def visible(cls, rows: QuerySet[Any], audience: Hashable) -> QuerySet[Any]:
        """Override to return the rows that an audience sees."""
        return rows

    @classmethod
    def hidden(cls, audience: Hashable) -> Collection[str]:
        """Override to return the fields that an audience does not see, of `row` and of `parent`; in `row` they are
        optional."""
        return ()

    @classmethod
    def may(cls, user: AnyUser, action: str, row: Any) -> bool:
        """Override to say who may "add", "change" or "delete" a row, or do what an action of yours does to it.

        row: as it is in the database, of "add" as it would be; None for any, when the page is rendered. With a row, it
        may also raise MessageError with a reason. By default those to whom Django gives the permission; an action of
        your own needs that to change.
        """
        options = cls.model._meta
        permission = action if action in ("add", "change", "delete") else "change"
        return user.has_perm(f"{options.app_label}.{permission}_{options.model_name}")

    @classmethod
    def options(cls, field: str, user: AnyUser) -> QuerySet[Any]:
        """Override to say which rows a form offers for a foreign key, and accepts. By default all, for those who may
        view them by Django's permission; none for others."""
        related = cls.related(field)
        meta = related._meta
        rows: QuerySet[Any] = related._default_manager.all()
        return rows if user.has_perm(f"{meta.app_label}.view_{meta.model_name}") else rows.none()

    # -----------------------------------------------------------------------------------------------------------------
    # To call
    # -----------------------------------------------------------------------------------------------------------------

    @classmethod
    def rows(cls, scope: Any, audience: Hashable) -> QuerySet[Any]:
        """All rows of a scope that an audience sees, in order, from the database that is written."""
        rows = cls.visible(cls.queryset(), audience).using(router.db_for_write(cls.model))
        if cls.scope:
            rows = rows.filter(**{f"{cls.scope}__pk": scope})
        default = rows.query.get_meta().ordering if rows.query.default_ordering else None
        order: Sequence[Any] = rows.query.order_by or default or ()
        return rows.order_by(*order, "pk")  # ties end with the key

    @classmethod
    def page(cls, scope: Any, audience: Hashable) -> dict[Any, str]:
        """The rows that a page shows, as JSON of the message `row`, by their keys and in order."""
        return {row.pk: cls.encode(row, audience) for row in cls.page_rows(scope, audience)}

    @classmethod
    def page_html(cls, scope: Any, audience: Hashable) -> SafeString:
        """The rows that a page shows, drawn by `template`: for a page that is rendered with them."""
        return mark_safe("".join(cls.draw(row, audience) for row in cls.page_rows(scope, audience)))  # noqa: S308

    @classmethod
    def page_rows(cls, scope: Any, audience: Hashable) -> Sequence[Any]:
        """The rows that a page shows."""
        related = [name for name in cls.labels if name in cls.fields]
        rows = cls.rows(scope, audience)
        rows = rows.select_related(*related) if related else rows
        return list(rows.reverse()[: cls.limit])[::-1] if cls.shows_last else list(rows[: cls.limit])

    @classmethod
    def page_parent(cls, scope: Any, audience: Hashable) -> str:
        """The object of a scope, as JSON of the message `parent`; empty if it is gone, or not shown."""
        found = cls.scope_rows(scope).first() if cls.parent else None
        if not cls.parent or not found:
            return ""
        hidden = cls.hidden(audience)
        values = {name: _attribute(found, name) for name in cls.parent.model_fields if name not in hidden}
        return _json(cls.parent.model_construct(**values))

    @classmethod
    def scope_rows(cls, scope: Any) -> QuerySet[Any]:
        """The object of a scope, from the database that is written."""
        return cls.related(cls.scope)._base_manager.using(router.db_for_write(cls.model)).filter(pk=scope)

    @classmethod
    def related(cls, name: str) -> type[Model]:
        """The model that a foreign key points to."""
        model = cls.model._meta.get_field(name).related_model
        assert isinstance(model, type)
        return model

    @classmethod
    def encode(cls, row: Model, audience: Hashable) -> str:
        """The data of a row's message as JSON, with the values of the database, whatever messages.py accepts."""
        hidden = cls.hidden(audience)
        values = {name: cls.value(row, name) for name in cls.fields if name not in hidden}
        if cls.template:
            values["html"] = cls.draw(row, audience)
        return _json(cls.row.model_construct(**values, **{"id": row.pk}))

    @classmethod
    def draw(cls, row: Model, audience: Hashable) -> SafeString:
        """A row as `template` has it, with `row` and `audience`; a field that the audience does not see is None."""
        for name in cls.hidden(audience):
            if name in cls.fields:
                setattr(row, name, None)
        # As it is drawn for all pages, whatever the visitor of this one has.
        with translation.override(settings.LANGUAGE_CODE), timezone.override(None):
            return render_to_string(cls.template, {"row": row, "audience": audience})

    @classmethod
    def value(cls, row: Model, name: str) -> Any:
        """The value of a field, as its message has it: of a file its address, of a foreign key a Related."""
        field = cls.model._meta.get_field(name)
        if isinstance(field, models.ForeignKey):
            key = getattr(row, field.attname)
            if key is None:
                return None
            return _related(key, cls._label(row, name))
        value = getattr(row, name)
        if isinstance(value, FieldFile):
            return value.url if value else ""
        return value

    @classmethod
    def _label(cls, row: Model, name: str) -> str:
        if name not in cls.labels:
            return ""
        value = getattr(getattr(row, name), cls.labels[name])
        return str(value() if callable(value) else value)


def _json(message: Message) -> str:
    return message.__pydantic_serializer__.to_json(message, warnings=False).decode()


def _related(key: Any, label: str) -> Related:
    return Related(key=key if isinstance(key, int) else str(key), label=label)


def _attribute(found: Model, name: str) -> Any:
    """Of a file its address, of a related object a Related, of a method the value that it returns."""
    if name == "label" and not hasattr(found, name):
        return str(found)
    value = getattr(found, name)
    value = value() if callable(value) else value
    if isinstance(value, Model):
        return _related(value.pk, str(value))
    if isinstance(value, FieldFile):
        return value.url if value else ""
    return value


def _check_field(cls: type[LiveModel], name: str) -> None:
    where = f"{cls.__module__}.{cls.__name__}"
    try:
        field = cls.model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise ImproperlyConfigured(
            f"{where}: {cls.row.__name__}.{name} is no column of {cls.model._meta.label}. Remove it from messages.py."
        ) from error
    if not field.concrete or field.many_to_many or isinstance(field, models.BinaryField):
        raise ImproperlyConfigured(f"{where}: {name} cannot travel to a page. Remove it from {cls.row.__name__}.")
    if name == cls.scope and not isinstance(field, models.ForeignKey):
        raise ImproperlyConfigured(f"{where}: scope is {name}, which is no foreign key.")
