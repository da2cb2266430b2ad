"""The query set of a live model: what it changes without a signal reaches the pages, too."""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import models
from django.db.models.deletion import Collector

from apps.common.live import publishing

M = TypeVar("M", bound=models.Model)


class LiveQuerySet(models.QuerySet[M]):
    """`objects = LiveQuerySet.as_manager()`, or the base class of a query set of your own.

    update(), bulk_create(), bulk_update() and delete() are one notification each. Raw SQL and _raw_delete() are none:
    live_reload() follows those.
    """

    def update(self, **kwargs: Any) -> int:
        publishing.expect(self.model, self._alias())
        count = super().update(**kwargs)
        if count:
            publishing.changed(self.model, None, self._alias())
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        publishing.expect(self.model, self._alias())
        made = super().bulk_create(objs, *args, **kwargs)
        keys = [row.pk for row in made]
        is_known = len(keys) <= publishing.MAX_KEYS and None not in keys  # ignore_conflicts returns none
        publishing.changed(self.model, keys if is_known else None, self._alias())
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        if not publishing.is_live(self.model) or self._is_small():
            return super().delete()
        return self._delete_many()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _alias(self) -> str:
        """Of the database to which this writes."""
        self._for_write = True
        return self.db

    def _is_small(self) -> bool:
        if self.query.is_sliced or self.query.values_select or self.query.distinct or self.query.combinator:
            return True  # Django refuses it
        return self.order_by().values("pk")[: publishing.MAX_KEYS + 1].count() <= publishing.MAX_KEYS

    def _delete_many(self) -> tuple[int, dict[str, int]]:
        """As QuerySet.delete(), without an object for each row if only this package listens to their deletion."""
        rows: Any = self.all()
        rows._for_write = True
        rows.query.select_for_update = False
        rows.query.select_related = False
        rows.query.clear_ordering(force=True)
        collector = _Collector(using=rows.db, origin=self)
        collector.collect(rows)
        silent: set[Any] = {self.model, *(each.model for each in collector.fast_deletes)}  # no signal is sent for these
        for model in silent:
            publishing.expect(model, rows.db)
        deleted = collector.delete()
        for model in silent:
            publishing.changed(model, None, rows.db)
        self._result_cache = None
        return deleted


class _Collector(Collector):
    """Django deletes rows one by one if a signal has a listener; ours need not be asked here."""

    def _has_signal_listeners(self, model: type[models.Model]) -> bool:
        listens: bool = super()._has_signal_listeners(model)  # type: ignore[misc]
        return listens and publishing.has_other_listeners(model)
