"""A provider `aws` that makes nothing: it remembers what it is told, answers as AWS would, and writes down the order.

It stands in for the official plugin, so that the real engine runs the whole program: previews in which nothing is known
yet, replacements, and the order of everything on the way up and down. It knows no rule of AWS.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent import futures
from pathlib import Path
from threading import Event
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from recording import invented, physical_id

VERSION = "7.0.0"
# What AWS can only replace, of all that the tests change.
REPLACED = {
    "aws:autoscaling/group:Group": {"name"},
    "aws:ec2/tag:Tag": {"resourceId"},
    "aws:eks/nodeGroup:NodeGroup": {"nodeGroupName", "instanceTypes"},
}


def note(**what: Any) -> None:
    with Path(os.environ["RECORDED_ORDER"]).open("a") as file:
        file.write(json.dumps(what) + "\n")


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def name_and_type(urn: str) -> tuple[str, str]:
    *_, types, name = urn.split("::")
    return name, types.rpartition("$")[2]


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "aws", "version": VERSION}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        before, after = (MessageToDict(message) for message in (request.old_inputs, request.news))
        changed = sorted(key for key in before | after if before.get(key) != after.get(key))
        changed = [key for key in changed if key not in request.ignoreChanges]
        _, type_ = name_and_type(request.urn)
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        replaces = sorted(REPLACED.get(type_, set()).intersection(changed))
        return provider_pb2.DiffResponse(changes=changes, diffs=changed, replaces=replaces)

    def Create(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        name, type_ = name_and_type(request.urn)
        note(did="create", name=name, type=type_)
        inputs = MessageToDict(request.properties)
        made = struct({**invented(type_, name, inputs), **inputs})
        return provider_pb2.CreateResponse(id=physical_id(type_, name), properties=made)

    def Update(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        name, type_ = name_and_type(request.urn)
        note(did="update", name=name, type=type_)
        inputs = MessageToDict(request.news)
        return provider_pb2.UpdateResponse(properties=struct({**invented(type_, name, inputs), **inputs}))

    def Read(self, request: Any, context: Any) -> Any:
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request: Any, context: Any) -> Any:
        name, type_ = name_and_type(request.urn)
        note(did="delete", name=name, type=type_)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        arguments = MessageToDict(request.args)
        (wanted,) = arguments["filters"][0]["values"]
        return provider_pb2.InvokeResponse(**{"return": struct({**arguments, "id": f"ami-of-{wanted}"})})

    def Cancel(self, request: Any, context: Any) -> Any:
        STOPPED.set()
        return empty_pb2.Empty()


STOPPED = Event()


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.max_receive_message_length", -1)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
