#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""openapi_file.py PRINT_TABLES: docs/openapi.yaml by itself, and against the monitor's own tables.

The file must be OpenAPI 3.0 and say what the tables of options and of routes say, no more and no
less; and what is damaged must be found here, or this reader is none.
"""

import copy
import json
import os
import subprocess
import sys

import jsonschema

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../guest"))

import openapi  # pylint: disable=wrong-import-position

# OpenAPI 3.0.1, 4.7: of each kind of object the fields it must and may have, and of those that are
# objects the kind; "{}" and "[]" stand for a map and an array of them.
KINDS = {
    "document": ("openapi info paths", "servers:server[] components:components tags externalDocs "
                 "security paths:path{} info:info x-any-request:response{}"),
    "info": ("title version", "description license contact termsOfService"),
    "server": ("url", "description variables"),
    "path": ("", "get:operation put:operation servers:server[] summary description parameters"),
    "operation": ("responses", "operationId summary description tags deprecated x-not-supported "
                  "requestBody:body responses:response{} parameters:parameter[] servers security"),
    "parameter": ("name in", "description required schema:schema"),
    "body": ("content", "description required content:media{}"),
    "response": ("description", "content:media{} headers links"),
    "media": ("", "schema:schema example examples encoding"),
    "components": ("", "schemas:schema{} responses:response{} requestBodies:body{}"),
    "schema": ("", "type format description default example enum nullable deprecated writeOnly "
               "readOnly minimum maximum multipleOf minItems maxItems minLength maxLength pattern "
               "required x-not-supported items:schema properties:schema{} "
               "additionalProperties:schema"),
}
NOTHING = {"boolean": False, "integer": 0, "string": "", "array": [], "object": {}}


def check_object(kind, node, at):
    """The faults of an object of the file and of all in it."""
    if node in (True, False) and at.endswith("/additionalProperties"):
        return
    if "$ref" in node:
        if list(node) != ["$ref"]:
            yield f"{at}: a reference has other fields beside it"
        return
    must, may = KINDS[kind]
    kinds = dict(field.partition(":")[::2] for field in may.split())
    for field in must.split():
        if field not in node:
            yield f"{at}: {field} is missing"
    for field, value in node.items():
        if field not in kinds and field not in must.split():
            yield f"{at}: {field} is no field of a {kind}"
            continue
        inner = kinds.get(field, "")
        if inner.endswith("{}"):
            for key, each in value.items():
                yield from check_object(inner[:-2], each, f"{at}/{field}/{key}")
        elif inner.endswith("[]"):
            for number, each in enumerate(value):
                yield from check_object(inner[:-2], each, f"{at}/{field}/{number}")
        elif inner:
            yield from check_object(inner, value, f"{at}/{field}")


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def check_references(document):
    defined = {f"#/components/{kind}/{name}" for kind, parts in document["components"].items()
               for name in parts}
    used = set(references(document))
    yield from (f"{name} is not there" for name in used - defined)
    yield from (f"{name} is not used" for name in defined - used)


def check_schemas(description):
    for name, schema in description.document["components"]["schemas"].items():
        try:
            jsonschema.Draft4Validator.check_schema(description.json_schema(schema))
        except jsonschema.SchemaError as e:
            yield f"{name}: {e.message}"


def check_operations(description):
    seen = set()
    for (method, path), operation in description.operations.items():
        name = operation["operationId"]
        if name in seen:
            yield f"{method} {path}: the operationId {name} is there twice"
        seen.add(name)
        if ("501" in operation["responses"]) != ("x-not-supported" in operation):
            yield f"{method} {path}: 501 and x-not-supported go together"


def check_routes(description, routes):
    """The same paths with the same method, with a body or without."""
    wanted = {(r["method"], name if name[0] == "/" else "/api/v1/" + name): r["body"]
              for name, r in routes.items()}
    found = {key: "requestBody" in o for key, o in description.operations.items()}
    for method, path in sorted(wanted.keys() | found.keys()):
        if wanted.get((method, path)) != found.get((method, path)):
            yield f"{method} {path}: body: {found.get((method, path))} in the file, " \
                f"{wanted.get((method, path))} in the table of routes"


def in_table(value):
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def check_refused(field, row):
    """A field that is known and not supported: its default is the table's, or nothing."""
    if not field.get("x-not-supported"):
        yield "the table refuses it; it is not marked x-not-supported"
        return
    default = field.get("default")
    if default != NOTHING[field["type"]] and in_table(default) != row.get("default"):
        yield f"the default is {default}, in the table {row.get('default')}"
    shown = json.dumps(default) if not isinstance(default, str) else default or "''"
    if field.get("description") != f"Supported only as {shown}.":
        yield f'the description should be "Supported only as {shown}."'


def check_field(description, field, row):
    """(key or empty, what is wrong)"""
    if row["kind"] == "refused":
        for why in check_refused(field, row):
            yield "", why
        return
    expected = {"type": row["kind"], "default": row.get("default"), "enum": row.get("names"),
                "x-not-supported": None}
    if row["kind"] == "integer":
        expected["minimum"] = row["min"]
        expected["maximum"] = row["max"] if row["max"] < 2 ** 63 - 1 else None
    if row["kind"] == "number":
        expected["minimum"], expected["maximum"] = 0, row["max"]
    for key, value in expected.items():
        if field.get(key) != value or isinstance(field.get(key), bool) != isinstance(value, bool):
            yield "", f"{key} is {field.get(key)}, in the table {value}"
    if row["kind"] == "array":
        field = description.resolve(field.get("items", {}))
    if "keys" in row:
        yield from check_table(description, field, row["keys"])


def check_table(description, schema, rows):
    """(path of the key, what is wrong) of an object and its table of options."""
    fields = {k: description.resolve(v) for k, v in schema.get("properties", {}).items()}
    for key in sorted(rows.keys() | fields.keys()):
        if key not in fields:
            yield key, "is not in the file"
        elif key not in rows:
            if "deprecated" not in fields[key]:
                yield key, "is in no table"
        else:
            if rows[key]["required"] != (key in schema.get("required", [])):
                yield key, f"required is {rows[key]['required']} in the table"
            for inner, why in check_field(description, fields[key], rows[key]):
                yield f"{key}.{inner}" if inner else key, why


def faults(document, tables):
    """All that is wrong with the file."""
    found = list(check_object("document", document, "#"))
    found += check_references(document)
    if found:
        return found
    description = openapi.Description(document)
    found += check_schemas(description)
    found += check_operations(description)
    found += check_routes(description, tables["routes"])
    schema = document["components"]["schemas"]["VmConfig"]
    found += [f"{key}: {why}"
              for key, why in check_table(description, schema, tables["configuration"])]
    return found


def read_tables(program):
    """With what the code and no table demands: a kernel."""
    tables = json.loads(subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout)
    tables["configuration"]["payload"]["required"] = True
    tables["configuration"]["payload"]["keys"]["kernel"]["required"] = True
    return tables


def take_away(*path):
    def damage(document):
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]
    return damage


def put(value, *path):
    def damage(document):
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value
    return damage


def of(schema, field, *rest):
    return ("components", "schemas", schema, "properties", field, *rest)


DAMAGES = [
    take_away("info", "title"),
    take_away("paths", "/vm.boot"),
    put({"get": {"operationId": "x", "responses": {}}}, "paths", "/vm.unknown"),
    put("vmPause", "paths", "/vm.resume", "put", "operationId"),
    take_away("paths", "/vm.create", "put", "requestBody"),
    take_away("paths", "/vm.coredump", "put", "x-not-supported"),
    put("#/components/schemas/Nothing", *of("VmInfo", "config", "$ref")),
    put({"type": "string"}, "components", "schemas", "Unused"),
    put("text", *of("CpusConfig", "boot_vcpus", "type")),
    put("a note", *of("CpusConfig", "boot_vcpus", "comment")),
    take_away(*of("DiskConfig", "serial")),
    put({"type": "string"}, *of("DiskConfig", "colour")),
    put("string", *of("DiskConfig", "num_queues", "type")),
    put(2, *of("DiskConfig", "num_queues", "default")),
    put(31, *of("DiskConfig", "num_queues", "maximum")),
    put(0, *of("DiskConfig", "readonly", "default")),
    put(["Raw"], *of("DiskConfig", "image_type", "enum")),
    put([], "components", "schemas", "DiskConfig", "required"),
    put("Full", *of("DiskConfig", "lock_granularity", "default")),
    put({"type": "boolean"}, *of("DiskConfig", "iommu")),
    put({"$ref": "#/components/schemas/UnsupportedFlag"}, *of("DiskConfig", "direct")),
    take_away(*of("TokenBucket", "refill_time")),
]


def main():
    document = openapi.load()
    tables = read_tables(sys.argv[1])
    found = faults(document, tables)
    for number, damage in enumerate(DAMAGES):
        damaged = copy.deepcopy(document)
        damage(damaged)
        if not faults(damaged, tables):
            found.append(f"damage {number} is not found")
    print("\n".join(found) if found else f"openapi: {len(document['paths'])} paths are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
