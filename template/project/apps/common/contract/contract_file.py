"""The contract file of a feature, FEATURE_contract.d.ts: TypeScript for editors, the normal form in its comments.

A field is one line. The lines `// accepts N {…}` at the end have each contract, whole, with which an open page still
works, the file's own last. The file may have git's conflict markers: the lines of both branches count.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from apps.common.contract.compatibility import breaking_changes
from apps.common.contract.normal_form import Form

LIMIT = 20  # earlier contracts; no page is open for as many deploys
HEAD = """\
// The contract of {feature}: `manage.py contract {feature}` writes this file from messages.py.
// number {number}
"""
NUMBER = re.compile(r"// number (\d+)")
MESSAGE = re.compile(r"/\*\* (?P<is>action|answer|event) (?P<type>\w+)(?: -> (?P<answer>[\w |]+))? \*/")
FIELD = re.compile(r"""    (?P<name>'.+?'|[\w$]+)\??: .*?; // (?P<form>\{"kind".*\})""")
ACCEPTS = re.compile(r"// accepts (\d+) (\{.*\})")
CONFLICT = re.compile(r"^<{7}.*\n((?s:.*?))(?:^\|{7}.*\n(?s:.*?))?^={7}\n((?s:.*?))^>{7}.*\n?", re.MULTILINE)
TYPES = {"int": "number", "float": "number", "bool": "boolean", "json": "unknown", "schema": "unknown"}


class Version(NamedTuple):
    """A contract: its number, and its messages by type, {"place_order": {"is": "action", "fields": {…}}}."""

    number: int
    messages: dict[str, Any]

    @property
    def hash(self) -> str:
        text = json.dumps(self.messages, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ContractFile:
    """A contract file's text, read. Raises ValueError for one that is damaged, or has conflict markers."""

    def __init__(self, text: str) -> None:
        if CONFLICT.search(text):
            raise ValueError("it has conflict markers")
        if not (number := NUMBER.search(text)):
            raise ValueError("it has no number")
        self.current = Version(int(number[1]), _messages(text))
        self.accepted = [Version(int(number), json.loads(form)) for number, form in ACCEPTS.findall(text)]

    @cached_property
    def hashes(self) -> frozenset[str]:
        """Of the contracts that an open page may have."""
        return frozenset(each.hash for each in (*self.accepted, self.current))

    def is_current(self, messages: dict[str, Any]) -> bool:
        """Whether these messages are the file's. After a merge its own last line may differ from the rest."""
        return self.current.messages == messages and (not self.accepted or self.accepted[-1].messages == messages)


def refresh(feature: str, text: str, messages: dict[str, Any]) -> str:
    """The file's new text: a number higher if the contract differs, and the earlier ones that are still compatible.
    text: the file's, "" for none."""
    branches = [ContractFile(CONFLICT.sub(group, text)) for group in (r"\1", r"\2")] if text else []
    if branches and not CONFLICT.search(text) and branches[0].is_current(messages):
        return render(feature, branches[0].current, branches[0].accepted)
    earlier = [version for branch in branches for version in (*branch.accepted, branch.current)]
    new = Version(max((version.number for version in earlier), default=0) + 1, messages)
    kept = {each.hash: each for each in earlier if not any(breaking_changes(each.messages, messages))}
    kept.pop(new.hash, None)
    newest = sorted(kept.values(), key=lambda each: each.number)[-LIMIT:]
    return render(feature, new, [*newest, new] if earlier else [])


def render(feature: str, version: Version, accepted: Iterable[Version] = ()) -> str:
    """The file's text."""
    blocks = [HEAD.format(feature=feature, number=version.number)]
    for kind in ("action", "answer", "event"):
        blocks += [_interface(*item) for item in version.messages.items() if item[1]["is"] == kind]
    blocks.append(_events([type_ for type_, message in version.messages.items() if message["is"] == "event"]))
    lines = [f"// accepts {number} {_json(messages)}\n" for number, messages in accepted]
    return "\n".join([*blocks, *(["".join(lines)] if lines else [])])


def class_name(message_type: str) -> str:
    """The class of a message's type: place_order is PlaceOrder."""
    return "".join(part[:1].upper() + part[1:] for part in message_type.split("_"))


def camel_case(message_type: str) -> str:
    """The event of a message's type in the service: order_placed is orderPlaced."""
    name = class_name(message_type)
    return name[:1].lower() + name[1:]


def _messages(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fields: dict[str, Form] = {}
    for line in text.split("\n"):
        if message := MESSAGE.fullmatch(line):
            fields, role = {}, {key: value for key, value in message.groupdict().items() if value and key != "type"}
            found[message["type"]] = {**role, "fields": fields}
        elif field := FIELD.fullmatch(line):
            fields[field["name"].strip("'")] = json.loads(field["form"], parse_float=_number)
    return found


def _number(text: str) -> float:
    return int(float(text)) if float(text).is_integer() else float(text)


def _interface(type_: str, message: dict[str, Any]) -> str:
    answer = f" -> {message['answer']}" if "answer" in message else ""
    is_sent = message["is"] == "action"
    lines = [f"    {_member(name, form, is_sent)}; // {_json(form)}\n" for name, form in message["fields"].items()]
    body = "\n" + "".join(lines) if lines else ""
    return f"/** {message['is']} {type_}{answer} */\nexport interface {class_name(type_)} {{{body}}}\n"


def _events(types: list[str]) -> str:
    lines = [
        f"    {camel_case(each)}: [message: {{ type: '{each}'; data: {class_name(each)}; seq?: number }}];\n"
        for each in types
    ]
    body = "\n" + "".join(lines) if lines else ""
    return f"/** The arguments that listeners of the service's events receive. */\nexport interface Events {{{body}}}\n"


def _member(name: str, form: Form, is_sent: bool) -> str:
    key = name if re.fullmatch(r"[\w$]+", name) else f"'{name}'"
    return f"{key}{'?' if is_sent and form.get('optional') else ''}: {_typescript(form, is_sent)}"


def _typescript(form: Form, is_sent: bool) -> str:
    match form["kind"]:
        case "enum":
            text = " | ".join(map(_literal, form["of"]))
        case "union":
            text = " | ".join(_typescript(each, is_sent) for each in form["of"])
        case "list":
            item = _typescript(form["of"], is_sent)
            text = f"({item})[]" if " | " in item else f"{item}[]"
        case "map":
            text = f"Record<string, {_typescript(form['of'], is_sent)}>"
        case "object":
            text = "{ " + "; ".join(_member(name, each, is_sent) for name, each in form["of"].items()) + " }"
        case kind:
            text = TYPES.get(kind, "string")
    return f"{text} | null" if form.get("null") and text != "unknown" else text


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "'" + text[1:-1].replace("'", "\\'").replace('\\"', '"') + "'" if isinstance(value, str) else text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
