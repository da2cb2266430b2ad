"""The changes that a page asks for: permissions, visible rows, validation, and what somebody else changed meanwhile."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import IntegrityError, models, router, transaction
from django.db.models import Model, ProtectedError, RestrictedError
from django.utils.translation import gettext

from apps.common.live.declaration import AnyUser, LiveModel
from apps.common.live.messages import Related
from apps.common.websockets.messages import Message, MessageError


class Writer:
    """Changes the rows of a page for its user. Its methods raise MessageError: forbidden, not_found, invalid, or
    conflict."""

    def __init__(self, declared: type[LiveModel], user: AnyUser, scope: Any) -> None:
        self._declared = declared
        self._user = user
        self._scope = scope
        self._using = router.db_for_write(declared.model)
        self._audience = declared.audience(user)

    def add(self, data: Message, values: Mapping[str, Any]) -> None:
        """values: of fields that the message lacks."""
        self._ask("add", None)
        row = self._declared.model()
        if self._declared.scope:
            setattr(row, _column(self._field(self._declared.scope)), self._scope_value())
        for name, value in values.items():
            setattr(row, name, value)
        with transaction.atomic(using=self._using):
            self._assign(row, data, self._fields(data))
            self._ask("add", row)
            self._save(row)

    def change(self, data: Any) -> None:
        """data: with `id`, and `opened`: the values with which the form was opened, as messages have them."""
        with transaction.atomic(using=self._using):
            row = self._find(data.id)
            self._ask("change", row)
            self._assign(row, data, self._changed(row, data))
            self._save(row)

    def act(self, key: Any, action: str, change: Callable[[Any], None]) -> None:
        """Call the function with the locked row, and save it."""
        with transaction.atomic(using=self._using):
            row = self._find(key)
            self._ask(action, row)
            change(row)
            self._save(row)

    def delete(self, data: Any) -> None:
        """data: with `id`."""
        with transaction.atomic(using=self._using):
            row = self._find(data.id)
            self._ask("delete", row)
            try:
                row.delete(using=self._using)
            except (ProtectedError, RestrictedError) as error:
                raise MessageError("invalid", gettext("Other rows still need this one.")) from error

    def _ask(self, action: str, row: Model | None) -> None:
        if not self._declared.may(self._user, action, row):
            raise MessageError("forbidden", gettext("You may not do this."))

    def _scope_value(self) -> Any:
        """The value of the scope's column."""
        target = self._field(self._declared.scope).target_field
        if target.primary_key:
            return self._scope
        return self._declared.scope_rows(self._scope).values_list(target.attname, flat=True).first()

    def _find(self, key: Any) -> Model:
        """The row, locked: by a query of its own, since a database may not lock rows of the declared one."""
        rows = self._declared.rows(self._scope, self._audience)
        try:
            row: Model = self._declared.model._base_manager.using(self._using).select_for_update().get(pk=key)
            if not rows.filter(pk=key).exists():
                raise self._declared.model.DoesNotExist  # type: ignore[attr-defined]
        except (ObjectDoesNotExist, ValidationError, ValueError) as error:
            raise MessageError("not_found", gettext("This row is not here any more.")) from error
        return row

    def _changed(self, row: Model, data: Any) -> list[str]:
        """The fields that the page's user changed. Raises MessageError if somebody else changed one of them, too."""
        opened = data.opened if isinstance(data.opened, dict) else {}
        changed, conflicts = [], {}
        for name in self._fields(data):
            before = self._value(name, opened.get(name))
            wanted, present = self._value(name, getattr(data, name)), getattr(row, _column(self._field(name)))
            if wanted == before:
                continue
            changed.append(name)
            if present not in (before, wanted):
                shown = self._declared.value(row, name)
                text = shown.label or shown.key if isinstance(shown, Related) else shown
                conflicts[name] = gettext("Changed meanwhile to: %s") % ("–" if text in (None, "") else text)
        if conflicts:
            raise MessageError("conflict", gettext("Somebody else changed this meanwhile."), fields=conflicts)
        return changed

    def _assign(self, row: Model, data: Message, names: Iterable[str]) -> None:
        for name in names:
            field = self._field(name)
            value = self._value(name, getattr(data, name))
            if isinstance(field, models.ForeignKey) and value is not None:
                self._check_offered(name, value)
            setattr(row, _column(field), value)

    def _check_offered(self, name: str, key: Any) -> None:
        if not self._declared.options(name, self._user).filter(pk=key).exists():
            text = gettext("This is not one of the options.")
            raise MessageError("invalid", text, fields={name: text})

    def _value(self, name: str, value: Any) -> Any:
        """A value of a message as the model's field has it; of a foreign key the key. As it is if it is none."""
        field = self._field(name)
        if isinstance(field, models.ForeignKey):
            value = value.get("key") if isinstance(value, dict) else value
            field = field.target_field
        if value is None:
            return None if self._field(name).null else "" if field.empty_strings_allowed else None
        try:
            return field.to_python(value)
        except ValidationError:
            return value

    def _fields(self, data: Message) -> list[str]:
        """The fields of a message that its user sees: others cannot be written, nor found out by a conflict."""
        hidden = {"id", "opened", *self._declared.hidden(self._audience)}
        return [name for name in type(data).model_fields if name not in hidden]

    def _field(self, name: str) -> Any:
        return self._declared.model._meta.get_field(name)

    def _save(self, row: Model) -> None:
        try:
            row.full_clean()
            with transaction.atomic(using=self._using):
                row.save(using=self._using)
        except ValidationError as error:
            texts = {name: " ".join(problems) for name, problems in error.message_dict.items()}
            general = texts.pop("__all__", "")
            raise MessageError("invalid", general or gettext("Not all values are valid."), fields=texts) from error
        except IntegrityError as error:
            raise MessageError("invalid", gettext("The database refuses this: another row is in its way.")) from error


def _column(field: Any) -> str:
    """The attribute with the field's value; of a foreign key the key."""
    name: str = field.attname
    return name
