"""What the reference adds to docstrings: the equations they cite, and what fields say they are."""

from ast import literal_eval
from typing import Any

import griffe
from equations import NUMBER, equations

KNOWN = equations()


class Quoting(griffe.Extension):
    """Reads source text only: nothing is imported."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put the equations that a function or class cites under its words, folded."""
        if obj.docstring is None or not (obj.is_function or obj.is_class):
            return
        cited = dict.fromkeys(NUMBER.findall(obj.docstring.value))
        quoted = [_quoted(each) for each in cited if each in KNOWN and KNOWN[each].blocks]
        obj.docstring.value = "\n\n".join([obj.docstring.value, *quoted])

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        """Show a name where it is defined, not in every folder that hands it on."""
        mod.exports = None

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take the description of a field of a config for its docstring."""
        if attr.docstring is not None or not isinstance(attr.value, griffe.ExprCall):
            return
        for each in attr.value.arguments:
            if isinstance(each, griffe.ExprKeyword) and each.name == "description":
                text = _spoken(each.value)
                if text:
                    attr.docstring = griffe.Docstring(text, parent=attr)


def _quoted(number: str) -> str:
    lines = "\n\n".join(KNOWN[number].blocks).splitlines()
    inside = "\n".join(f"    {line}" for line in lines)
    return f'??? quote "{number} {KNOWN[number].title}"\n\n{inside}'


def _spoken(value: str | griffe.Expr) -> str:
    """The text of a literal, also of one in pieces; empty for what is computed."""
    try:
        return str(literal_eval(str(value)))
    except (ValueError, SyntaxError):
        return ""
