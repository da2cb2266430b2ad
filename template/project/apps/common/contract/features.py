"""The features of the project, and the messages of each: what its consumers handle, answer and broadcast."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, get_args, get_type_hints

from django.apps import AppConfig, apps

from apps.common import features
from apps.common.contract.contract_file import ContractFile
from apps.common.contract.normal_form import fields_of
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.messages import Message

ORDER = ("action", "answer", "event")  # in the contract file


@dataclass(frozen=True)
class Feature:
    """A local app with a messages.py. roles: {"place_order": {"is": "action", "answer": …}, …}, in the file's order."""

    config: AppConfig
    classes: dict[str, type[Message]]
    roles: dict[str, dict[str, str]]

    @property
    def name(self) -> str:
        return name_of(self.config)

    @property
    def path(self) -> Path:
        return path_of(self.config)

    @property
    def messages(self) -> dict[str, Any]:
        """Of its contract: {"place_order": {"is": "action", "fields": {…}}, …}."""
        return {
            type_: {**role, "fields": fields_of(self.classes[type_], received=role["is"] != "action")}
            for type_, role in self.roles.items()
        }


def find_features(*names: str) -> list[Feature]:
    """Those of these names; all without any. Raises what their modules raise, and LookupError for a name."""
    modules, consumers = features.modules("messages"), features.modules("consumers")
    configs = {name_of(config): config for config in apps.get_app_configs() if config.name in modules}
    if unknown := set(names) - configs.keys():
        raise LookupError(f"{min(unknown)}: no such feature with a messages.py; there are: {', '.join(configs) or '-'}")
    return [
        _feature(config, modules[config.name], consumers.get(config.name))
        for name, config in configs.items()
        if not names or name in names
    ]


def name_of(config: AppConfig) -> str:
    return config.name.rpartition(".")[2]


def path_of(config: AppConfig) -> Path:
    """The contract file's."""
    return Path(config.path, "static", name_of(config), "js/services", f"{name_of(config)}_contract.d.ts")


def read(path: Path) -> ContractFile | None:
    """The contract file, read again when it has changed; None without one. Raises ValueError for a damaged one."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=256)
def _read(path: Path, changed_at: int) -> ContractFile:
    return ContractFile(path.read_text(encoding="utf-8"))


def own_messages(module: ModuleType) -> list[type[Message]]:
    """The messages that a messages.py declares, but for base classes and what it only imports."""
    return [value for value in vars(module).values() if _is_message(value) and _is_of(module, value)]


def answers(consumers: ModuleType | None) -> dict[str, list[type[Message]]]:
    """The answers to each message, as the return annotations of a consumers.py say."""
    handlers = [handler for each in _consumers(consumers) for handler in each.handlers.values()]
    return {handler.message.message_type: _returned(handler.function) for handler in handlers}


def _feature(config: AppConfig, messages: ModuleType, consumers: ModuleType | None) -> Feature:
    answered = answers(consumers)
    handled = [handler.message for each in _consumers(consumers) for handler in each.handlers.values()]
    returned = [each for found in answered.values() for each in found]
    classes = {each.message_type: each for each in (*own_messages(messages), *handled, *returned)}
    roles = {type_: _role(type_, answered, {each.message_type for each in returned}) for type_ in classes}
    return Feature(config, classes, dict(sorted(roles.items(), key=lambda item: ORDER.index(item[1]["is"]))))


def _role(type_: str, answered: dict[str, list[type[Message]]], returned: set[str]) -> dict[str, str]:
    if type_ in answered:
        answer = " | ".join(each.message_type for each in answered[type_])
        return {"is": "action", "answer": answer} if answer else {"is": "action"}
    return {"is": "answer" if type_ in returned else "event"}


def _consumers(module: ModuleType | None) -> list[type[BaseWebSocketConsumer]]:
    classes = [value for value in vars(module).values() if isinstance(value, type)] if module else []
    return [each for each in classes if module and issubclass(each, BaseWebSocketConsumer) and _is_of(module, each)]


def _is_of(module: ModuleType, value: type) -> bool:
    """Whether the module, or one of its package, declares it."""
    return f"{value.__module__}.".startswith(f"{module.__name__}.")


def _returned(handler: Callable[..., Any]) -> list[type[Message]]:
    hint = get_type_hints(handler).get("return")  # PlaceOrderResult, or PlaceOrderResult | None
    return [each for each in (hint, *get_args(hint)) if _is_message(each)]


def _is_message(value: object) -> TypeGuard[type[Message]]:
    return isinstance(value, type) and issubclass(value, Message) and bool(value.message_type)
