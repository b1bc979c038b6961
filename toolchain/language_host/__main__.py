"""Serve the language host on a free port of loopback and print the port, as the engine expects."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi import _version as sdk_version
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from toolchain.language_host.program import ALREADY_REPORTED

PROJECT = Path(__file__).resolve().parents[2]


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._children: set[subprocess.Popen[bytes]] = set()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=str(sdk_version.version))

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield language_pb2.InstallDependenciesResponse(stdout=b"dependencies are installed by `make setup`\n")

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.stop_children()
        return empty_pb2.Empty()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        directory = request.info.program_directory or request.pwd
        wanted = {
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "monitor": request.monitor_address,
            "engine": self._engine,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
            "root_directory": request.info.root_directory,
            "config": dict(request.config),
            "secret_keys": list(request.configSecretKeys),
        }
        child = subprocess.Popen(
            [_python(request.info), "-u", "-m", "toolchain.language_host.program", directory],
            stdin=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
        )
        self._children.add(child)
        child.communicate(json.dumps(wanted).encode())
        self._children.discard(child)
        if child.returncode == ALREADY_REPORTED:
            return language_pb2.RunResponse(bail=True)
        if child.returncode < 0:
            return language_pb2.RunResponse(error=f"the program was ended by signal {-child.returncode}")
        if child.returncode:
            return language_pb2.RunResponse(error=f"the program exited with code {child.returncode}")
        return language_pb2.RunResponse()

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        directory = request.info.program_directory or request.pwd
        module = ["-m", "pulumi.policy"] if request.kind == "analyzer" else [directory]
        arguments = [*request.args, directory] if request.kind == "analyzer" else list(request.args)
        environment = dict(entry.split("=", 1) for entry in request.env)
        child = subprocess.Popen(
            [_python(request.info), "-u", *module, *arguments],
            cwd=directory if request.kind == "analyzer" else request.pwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment | {"PYTHONPATH": str(PROJECT)},
        )
        self._children.add(child)
        context.add_callback(child.terminate)
        yield from _output_of(child)
        self._children.discard(child)
        yield language_pb2.RunPluginResponse(exitcode=child.wait())

    def stop_children(self) -> None:
        for child in list(self._children):
            child.terminate()


def _python(info: Any) -> str:
    """The interpreter of `runtime.options.virtualenv`, relative to the project; else this one."""
    virtualenv = json_format.MessageToDict(info.options).get("virtualenv")
    if virtualenv:
        python = Path(info.root_directory, virtualenv, "bin/python")
        if python.exists():
            return str(python)
    return sys.executable


def _output_of(child: subprocess.Popen[bytes]) -> Iterator[Any]:
    """Both streams of the child as they come, until both are closed."""
    lines: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def pump(name: str, stream: Any) -> None:
        while data := stream.read1(65536):
            lines.put((name, data))
        lines.put((name, b""))

    for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
        threading.Thread(target=pump, args=(name, stream), daemon=True).start()
    still_open = 2
    while still_open:
        name, data = lines.get()
        if data:
            yield language_pb2.RunPluginResponse(**{name: data})  # type: ignore[arg-type]
        else:
            still_open -= 1


def main() -> None:
    engine = os.getppid()  # before it hears of us: from then on it may be killed
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", nargs="?", default="")
    arguments, _ = parser.parse_known_args()
    host = LanguageHost(arguments.engine)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopped = threading.Event()
    # The engine has already told the program; without handlers a Ctrl-C would print a traceback into the output.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    print(port, flush=True)
    # An engine that was killed tells nobody; its program would wait for an answer for ever.
    while not stopped.wait(timeout=1) and os.getppid() == engine:
        pass
    # Before the server, whose threads wait for them.
    host.stop_children()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
