# SPDX-License-Identifier: Apache-2.0
"""Every request that docs/openapi.yaml describes, and every field of it, right and wrong."""
import re

from api_client import WITNESS, config, monitor, wants
from rig import check

DESCRIPTION = WITNESS.description

WRONG = {"boolean": ["true", 1], "number": ["many", -1, 0.001], "integer": ["many", -1, 1.5], "string": [17, ["x"]],
         "array": ["x", {"a": 1}], "object": ["x", [1]]}


def smallest(schema):
    """A value that a schema allows, with no more in it than must be."""
    schema = DESCRIPTION.resolve(schema)
    if schema["type"] == "object":
        return {k: smallest(schema["properties"][k]) for k in schema.get("required", [])}
    if "example" in schema:
        return schema["example"]
    return {"boolean": False, "integer": schema.get("minimum", 0), "number": 0, "string": "x", "array": []}[
        schema["type"]]


def objects(schema, wrap):
    """(schema, body with a value in its place) of an object and of all in it."""
    schema = DESCRIPTION.resolve(schema)
    if schema["type"] == "array":
        yield from objects(schema["items"], lambda value: wrap([value]))
    elif "properties" in schema:
        yield schema, wrap
        for key, field in schema["properties"].items():
            field = DESCRIPTION.resolve(field)
            if "x-not-supported" not in field and "deprecated" not in field:
                yield from objects(field, lambda value, key=key: wrap({**smallest(schema),
                                                                       key: value}))


def taken_values(field):
    """What may stand in a field though it need not."""
    if "default" in field:
        yield field["default"]
    if "x-not-supported" in field and field["default"] is not True:
        yield from (False, 0, "", [], {"mode": "Off"})


def refused_values(field):
    """What must be answered with 400."""
    yield from WRONG[field["type"]]
    if "x-not-supported" in field:
        default = field["default"]
        yield {"boolean": not default, "integer": 7, "string": "x",
               "array": [{"a": 1}], "object": {"a": 1}}[field["type"]]
    elif "enum" in field:
        yield "no such choice"
    elif field["type"] in ("integer", "number"):
        yield field["minimum"] - 1
        if "maximum" in field:
            yield field["maximum"] + 1


def requests(schema):
    """(body, None) for what has to be taken, (body, field) for what is refused by that name."""
    for inner, wrap in objects(schema, lambda value: value):
        unknown = "nobody_knows_this"
        yield (wrap({**smallest(inner), unknown: {"a": [1]}}),
               None if inner.get("additionalProperties", True) else unknown)
        for key, field in inner["properties"].items():
            field = DESCRIPTION.resolve(field)
            body = smallest(inner)
            yield wrap({**body, key: None}), key if key in inner.get("required", []) else None
            for value in taken_values(field):
                yield wrap({**body, key: value}), None
            if "deprecated" not in field:
                for value in refused_values(field):
                    yield wrap({**body, key: value}), key


def test_openapi_fields(rig):
    """Unknown, absent, default, wrong and not supported, of every request."""
    disks = [{"path": rig.disk()}]
    with monitor(rig) as (_, client):
        for (method, path), operation in DESCRIPTION.operations.items():
            schema = DESCRIPTION.request_schema(operation)
            if not schema or "x-not-supported" in operation:
                continue
            for body, refused in requests(schema):
                if not path.endswith("/vm.create"):
                    wants(client, 204, "PUT", "vm.create", config(rig, disks=disks))
                status, answer = client.ask(method, path, body)
                check((status == 400) == bool(refused), f"{path} {body}: {status} {answer}")
                check(not refused or re.search(rf"\b{refused}\b", answer[0]),
                      f"{path} {body}: {answer}")
                wants(client, 204, "PUT", "vm.delete")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_openapi_operations(rig):
    """Each with the wrong kind of body, and where there is no VM; what is marked so is not yet."""
    with monitor(rig) as (_, client):
        for (method, path), operation in DESCRIPTION.operations.items():
            schema = DESCRIPTION.request_schema(operation)
            wants(client, 400, method, path, None if schema else {})
            wants(client, 400, "GET" if method == "PUT" else "PUT", path)
            if "x-not-supported" in operation:
                wants(client, 501, method, path, smallest(schema) if schema else None)
            elif "404" in operation["responses"]:
                wants(client, 404, method, path, smallest(schema) if schema else None)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_openapi_rest(rig):
    """What no other test asks for with success."""
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        for name in ("shutdown", "reboot", "soft-reboot", "power-button", "nmi"):
            wants(client, 500, "PUT", "vm." + name)
        check(wants(client, 200, "GET", "/metrics") == "", "metrics without a machine")
        wants(client, 204, "PUT", "vm.add-net", {"backend": "Passt"})
        wants(client, 204, "PUT", "vm.remove-device", {"id": "net0"})
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.soft-reboot")
        wants(client, 204, "PUT", "vm.power-button")
        wants(client, 204, "PUT", "vm.nmi")
        client.send(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n")
        check(client.answer()[1].endswith("# EOF\n"), "not OpenMetrics")
        wants(client, 204, "PUT", "vmm.shutdown")
