"""Make up a value that fits a JSON schema.

The same schema, prompt and variant always give the same value; a property whose name says what it holds (a command, a
path, a query) gets something harmless that works.
"""

import re

from aibridge.server.demo.simulator.json_values import JsonObject, as_count, as_object, as_objects, as_text

# A schema comes from a client, may refer to itself, and must not keep the simulator busy.
_DEEPEST = 8
_MOST_VALUES = 500
_LONGEST_LIST = 8
_LONGEST_TEXT = 1000
_COMMANDS = ("ls", "pwd")
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_NUMBER = re.compile(r"\b\d{1,6}\b")
_PERSON = re.compile(r"(?<=[a-z,:] )[A-Z][a-z]+ [A-Z][a-z]+\b")
_PATH = re.compile(r"(?<!\S)[\w./~-]*(/|\.\w)[\w./~-]*")


def value_for(schema: JsonObject, *, name: str, prompt: str, variant: int = 0) -> object:
    """A value for the property ``name``; variants differ from each other where the schema lets them."""
    return _Invention(root=schema, prompt=prompt, variant=variant).value(schema, name, 0)


class _Invention:
    """One run over one schema."""

    __slots__ = ("_left", "_prompt", "_root", "_variant")

    def __init__(self, *, root: JsonObject, prompt: str, variant: int) -> None:
        self._root = root
        self._prompt = prompt
        self._variant = variant
        self._left = _MOST_VALUES

    def value(self, schema: JsonObject, name: str, depth: int) -> object:
        self._left -= 1
        if self._left < 0:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[self._variant % len(choices)]
        if "default" in schema:
            return schema["default"]
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._text(schema, name)
            case "integer" | "number":
                return self._number(schema)
            case "boolean":
                return True
            case _:
                return None

    def _resolved(self, schema: JsonObject) -> JsonObject:
        """Follow references and take the first of several alternatives that is not null."""
        for _ in range(_DEEPEST):
            reference = as_text(schema.get("$ref"))
            if reference.startswith("#/"):
                schema = self._at(reference)
                continue
            alternatives = [
                option
                for keyword in ("anyOf", "oneOf", "allOf")
                for option in as_objects(schema.get(keyword))
                if option.get("type") != "null"
            ]
            if not alternatives or "type" in schema:
                return schema
            schema = alternatives[0]
        return {}

    def _at(self, reference: str) -> JsonObject:
        found: JsonObject = self._root
        for key in reference[2:].split("/"):
            found = as_object(found.get(key))
        return found

    def _object(self, schema: JsonObject, depth: int) -> dict[str, object]:
        if depth >= _DEEPEST:
            return {}
        properties = as_object(schema.get("properties"))
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        if "command" in properties and "description" in properties and "description" not in names:
            names.append("description")  # Claude Code shows it to the person beside the command
        return {name: self.value(as_object(properties.get(name)), name, depth + 1) for name in names}

    def _array(self, schema: JsonObject, name: str, depth: int) -> list[object]:
        if name in {"command", "cmd"}:
            return [self._command()]
        if depth >= _DEEPEST:
            return []
        count = min(max(1, as_count(schema.get("minItems")) or 0), _LONGEST_LIST)
        return [self.value(as_object(schema.get("items")), name, depth + 1) for _ in range(count)]

    def _text(self, schema: JsonObject, name: str) -> str:
        form = _FORMATS.get(as_text(schema.get("format")))
        if form is not None:
            return form
        match name.lower():
            case "command" | "cmd" | "script" | "code":
                text = self._command()
            case "path" | "file_path" | "filepath" | "filename" | "file":
                found = _PATH.search(self._prompt)
                text = found[0].rstrip(".") if found else "README.md"
            case "pattern" | "glob":
                text = "*"
            case "url":
                text = "https://example.com/"
            case "city" | "location" | "place":
                text = ("Berlin", "Lisbon")[self._variant % 2]
            case "name" | "person" | "who":
                found = _PERSON.search(self._prompt)
                text = found[0] if found else f"simulated {name}"
            case "description":
                text = "A call that the simulated model made up"
            case "query" | "q" | "question" | "prompt":
                text = self._prompt[:80] or "anything"
            case _:
                text = f"simulated {name}" + (f" {self._variant + 1}" if self._variant else "")
        shortest, longest = as_count(schema.get("minLength")) or 0, as_count(schema.get("maxLength"))
        return text.ljust(min(shortest, _LONGEST_TEXT), ".")[:longest]

    def _number(self, schema: JsonObject) -> int:
        """A number that the prompt says, if one fits."""
        lowest = as_count(schema.get("minimum"))
        highest = as_count(schema.get("maximum"))
        said = [int(digits) for digits in _NUMBER.findall(self._prompt)]
        fitting = [each for each in said if (lowest or 0) <= each and (highest is None or each <= highest)]
        if fitting:
            return fitting[self._variant % len(fitting)]
        number = max(1 if lowest is None else lowest, 1 + self._variant)
        return number if highest is None else min(number, highest)

    def _command(self) -> str:
        return _COMMANDS[self._variant % len(_COMMANDS)]


def _type_of(schema: JsonObject) -> str:
    """The type that a schema asks for; one that names none is read off its keywords, and is a string without any."""
    types = schema.get("type")
    if isinstance(types, list):
        types = next((each for each in types if each != "null"), "null")
    if isinstance(types, str):
        return types
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"
