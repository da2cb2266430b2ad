"""The page of a feature has an import map, which its base template gives it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.template import Template, TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.template.base import Node, NodeList, TextNode, VariableNode
from django.template.library import SimpleNode
from django.template.loader_tags import BlockNode, ExtendsNode, IncludeNode

from apps.common.checks.scripts import AppConfigs
from apps.common.features import live_pages
from apps.common.templatetags.websockets import import_map

MODULE = 'type="module"'


class Unknown(Exception):
    """A template's name is known only when it is rendered, so nothing can be said of the page."""


@register(Tags.templates)
def check_base_templates(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    features = [page.__package__ for page in live_pages()]
    return [
        error
        for config in app_configs or apps.get_app_configs()
        if config.name in features
        for file in sorted(Path(config.path, "templates").rglob("*.html"))
        for error in check_page(file.relative_to(Path(config.path, "templates")).as_posix())
    ]


def check_page(name: str) -> list[CheckMessage]:
    """The error of one template. A partial, which extends nothing, and a page without modules need no import map."""
    try:
        chain = _chain(name)
        nodes = list(_nodes(chain[-1].nodelist, _blocks(chain)))
    except (
        Unknown,
        TemplateDoesNotExist,
        TemplateSyntaxError,
        UnicodeDecodeError,
    ):  # its error page explains
        return []
    first_map = next((i for i, node in enumerate(nodes) if _is_import_map(node)), len(nodes))
    first_module = next((i for i, node in enumerate(nodes) if isinstance(node, TextNode) and MODULE in node.s), None)
    if len(chain) == 1 or first_module is None or first_map < first_module:
        return []
    return [_error(name, chain[-1])]


def _chain(name: str) -> list[Template]:
    """The template, the one that it extends, and so on to the base."""
    chain = [_load(name)]
    while extends := [node for node in chain[-1].nodelist if isinstance(node, ExtendsNode)]:
        parent = _load(_literal(extends[0].parent_name))
        if any(parent.origin == template.origin for template in chain):
            raise Unknown  # it extends one of its own name, from another folder
        chain.append(parent)
    return chain


def _load(name: str) -> Template:
    for backend in engines.all():
        if isinstance(backend, DjangoTemplates):
            return backend.engine.get_template(name)
    raise Unknown  # another engine's


def _literal(expression: Any) -> str:
    if isinstance(expression.var, str):
        return expression.var
    raise Unknown


def _blocks(chain: list[Template]) -> dict[str, list[BlockNode]]:
    """Each block by its name, as the page has it first, the base last."""
    blocks: dict[str, list[BlockNode]] = {}
    for template in chain:
        for block in template.nodelist.get_nodes_by_type(BlockNode):
            if isinstance(block, BlockNode):
                blocks.setdefault(str(block.name), []).append(block)
    return blocks


def _nodes(nodelist: NodeList, blocks: dict[str, list[BlockNode]], above: tuple[BlockNode, ...] = ()) -> Iterator[Node]:
    """The nodes in the order of rendering: blocks as they are overridden, and what block.super inserts."""
    for node in nodelist:
        if isinstance(node, BlockNode):
            first, *rest = blocks[node.name]
            yield from _nodes(first.nodelist, blocks, tuple(rest))
        elif isinstance(node, VariableNode) and str(node.filter_expression.var) == "block.super" and above:
            yield from _nodes(above[0].nodelist, blocks, above[1:])
        elif isinstance(node, IncludeNode):
            yield from _nodes(_load(_literal(node.template)).nodelist, blocks)
        else:
            yield node
            for attribute in node.child_nodelists:
                children: Any = getattr(node, attribute, ())
                yield from _nodes(children, blocks, above)


def _is_import_map(node: Node) -> bool:
    return isinstance(node, SimpleNode) and node.func is import_map


def _error(page: str, base: Template) -> Error:
    return Error(
        f"{base.name} has no import map before the modules of {page}: in production their imports fail.",
        hint="Add it first in <head>: {% load websockets %}{% import_map %}",
        obj=base.origin.name,
        id="common.E015",
    )
