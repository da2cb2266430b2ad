"""The problems of a message's data, for people, in the language of their connection.

Most texts are Django's own, which are translated already; the rest can be translated as those of a project.
"""

from typing import Any

from django.utils.translation import gettext, gettext_noop, ngettext
from pydantic import ValidationError

MAX_FIELDS = 20  # that an error names
MAX_PROBLEMS = 500  # to list more takes long
MAX_PATH = 64  # characters, for a client may send any name
MAX_TEXT = 200  # characters

INVALID = gettext_noop("Enter a valid value.")
NUMBER, WHOLE_NUMBER = gettext_noop("Enter a number."), gettext_noop("Enter a whole number.")
CHOICE = gettext_noop("Select a valid choice. That choice is not one of the available choices.")
# By Pydantic's type of an error; a type that is not here has Pydantic's own text, in English.
TEXTS = {
    "missing": gettext_noop("This field is required."),
    "extra_forbidden": gettext_noop("This field is unknown."),
    "null": gettext_noop("This field cannot be null."),
    "text": gettext_noop("This field cannot be blank."),
    "slug": gettext_noop("Enter a valid “slug” consisting of letters, numbers, underscores or hyphens."),
    "email": gettext_noop("Enter a valid email address."),
    "url": gettext_noop("Enter a valid URL."),
    "date": gettext_noop("Enter a valid date."),
    "datetime": gettext_noop("Enter a valid date/time."),
    "time": gettext_noop("Enter a valid time."),
    "uuid": gettext_noop("Enter a valid UUID."),
    "json": gettext_noop("Enter a valid JSON."),
    "digits": gettext_noop("Enter a number of at most %(whole)s digits before the point and %(places)s after it."),
    "string_type": gettext_noop("Enter a text."),
    "list_type": gettext_noop("Enter a list of values."),
    "greater_than": gettext_noop("Ensure this value is greater than %(limit_value)s."),
    "greater_than_equal": gettext_noop("Ensure this value is greater than or equal to %(limit_value)s."),
    "less_than": gettext_noop("Ensure this value is less than %(limit_value)s."),
    "less_than_equal": gettext_noop("Ensure this value is less than or equal to %(limit_value)s."),
    "too_long": gettext_noop("Ensure there are at most %(limit_value)s items."),
    "too_short": gettext_noop("Ensure there are at least %(limit_value)s items."),
    **dict.fromkeys(("bool_type", "dict_type", "model_type", "string_pattern_mismatch"), INVALID),
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing_size"), WHOLE_NUMBER),
    **dict.fromkeys(("float_type", "finite_number", "decimal"), NUMBER),
    **dict.fromkeys(("enum", "literal_error"), CHOICE),
}
LIMITS = {"gt", "ge", "lt", "le", "max_length", "min_length"}


def explain(error: ValidationError) -> tuple[str, dict[str, str]]:
    """The first three problems in one text, and a text for each field, by its dotted path: {"tags.0": …}.

    Nothing that was sent is repeated, but for names of fields.
    """
    if error.error_count() > MAX_PROBLEMS:
        return gettext("More than %(count)s values are wrong.") % {"count": MAX_PROBLEMS}, {}
    problems = [(_path(problem), _text(problem)) for problem in error.errors(include_url=False)[:MAX_FIELDS]]
    summary = "; ".join(f"{path or 'data'}: {text}" for path, text in problems[:3])
    return summary, {path: text for path, text in reversed(problems) if path}  # of several, the first stays


def _path(problem: Any) -> str:
    return ".".join(map(str, problem["loc"]))[:MAX_PATH]


def _text(problem: Any) -> str:
    type_, context = problem["type"], dict(problem.get("ctx", {}))
    context["limit_value"] = next((value for name, value in context.items() if name in LIMITS), None)
    if type_ in ("string_too_long", "string_too_short"):
        text = _length(type_ == "string_too_long", {**context, "show_value": len(problem["input"])})
    elif type_ in ("value_error", "assertion_error"):
        text = str(context["error"])  # of a feature's own validator
    else:
        is_null = problem["input"] is None and type_ != "missing"
        known = TEXTS.get("null" if is_null else type_)
        text = gettext(known) % context if known else problem["msg"]
    return text[:MAX_TEXT]


def _length(is_long: bool, context: dict[str, Any]) -> str:
    if is_long:
        one = "Ensure this value has at most %(limit_value)d character (it has %(show_value)d)."
        many = "Ensure this value has at most %(limit_value)d characters (it has %(show_value)d)."
    else:
        one = "Ensure this value has at least %(limit_value)d character (it has %(show_value)d)."
        many = "Ensure this value has at least %(limit_value)d characters (it has %(show_value)d)."
    return ngettext(one, many, context["limit_value"]) % context
