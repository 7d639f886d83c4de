# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml, and what becomes true or false of it while tests talk to the monitor."""
import os
import urllib.parse

import jsonschema
import yaml

FILE = os.path.join(os.path.dirname(__file__), "../../docs/openapi.yaml")


class Description:
    """The file: operations by (method, path), and schemas without references."""

    def __init__(self, document):
        self.document = document
        self.operations = {}  # (method, path as it stands in a request line): operation
        for path, item in document["paths"].items():
            base = urllib.parse.urlsplit(item.get("servers", document["servers"])[0]["url"]).path
            for method in ("get", "put"):
                if method in item:
                    self.operations[method.upper(), base + path] = item[method]

    def resolve(self, node):
        """What a reference refers to; anything else is itself."""
        while "$ref" in node:
            found = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            node = found
        return node

    def request_schema(self, operation):
        """None: it takes no body."""
        if "requestBody" not in operation:
            return None
        body = self.resolve(operation["requestBody"])
        return self.resolve(body["content"]["application/json"]["schema"])

    def json_schema(self, schema):
        """Of an answer: an object has the fields described and no other, and writes defaults."""
        schema = dict(self.resolve(schema))
        if schema.pop("nullable", False):
            schema["type"] = [schema["type"], "null"]
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                schema[key] = self.json_schema(schema[key])
        if "properties" in schema:
            fields = {k: self.resolve(v) for k, v in schema["properties"].items()}
            written = {k for k, v in fields.items()
                       if "default" in v and "x-not-supported" not in v}
            schema["properties"] = {k: self.json_schema(v) for k, v in fields.items()
                                    if "writeOnly" not in v}
            schema["required"] = sorted(written.union(schema.get("required", [])))
            schema.setdefault("additionalProperties", False)
        if not schema.get("required"):
            schema.pop("required", None)  # JSON Schema draft 4 wants one at least
        return schema


class Witness:
    """Judges every answer, and remembers which operations did what they are for."""

    def __init__(self, description):
        self.description = description
        self.succeeded, self.faults = set(), []  # (method, path); sentences
        self.validators = {}

    def responses(self, method, path):
        """All that may be answered, by status."""
        operations = self.description.operations
        responses = dict(self.description.document["x-any-request"])
        if any(path == known for _, known in operations):
            del responses["404"]
        if (method, path) in operations:
            responses.update(operations[method, path]["responses"])
        return responses

    def validator(self, schema):
        if id(schema) not in self.validators:
            self.validators[id(schema)] = jsonschema.Draft4Validator(
                self.description.json_schema(schema))
        return self.validators[id(schema)]

    def fault(self, method, path, status, media, body):
        """Why this answer is not one of those described; None: it is."""
        responses = self.responses(method, path)
        if str(status) not in responses:
            return "the status is not described"
        content = self.description.resolve(responses[str(status)]).get("content", {None: None})
        if media not in content:
            return f"the Content-Type {media} is not described"
        if media is None:
            return None
        errors = self.validator(content[media]["schema"]).iter_errors(body)
        worst = jsonschema.exceptions.best_match(errors)
        return worst and ".".join([*map(str, worst.absolute_path), " " + worst.message])

    def judge(self, method, target, status, media, body):
        """None, or why this answer is wrong. media: the Content-Type, None: no body."""
        path = target.partition("?")[0]
        why = self.fault(method, path, status, media and media.partition(";")[0], body)
        operation = self.description.operations.get((method, path), {})
        if why:
            why = f"{method} {target}: {status}: {why}"
            self.faults.append(why)
        elif status < 300 or (status == 501 and "x-not-supported" in operation):
            self.succeeded.add((method, path))
        return why

    def forget(self):
        self.succeeded, self.faults = set(), []

    def seen(self):
        """What another one can add to what it knows."""
        return self.succeeded, self.faults

    def add(self, seen):
        succeeded, faults = seen
        self.succeeded |= succeeded
        self.faults += faults

    def complaints(self):
        """For the end of all tests."""
        missing = sorted(set(self.description.operations) - self.succeeded)
        return self.faults + [f"{method} {path}: no test calls it" for method, path in missing]


def load():
    with open(FILE, encoding="utf-8") as f:
        return yaml.safe_load(f)
