"""Reaches the mesh that `nova up` started in NOVA_HOME, with the token in NOVA_TOKEN."""

import json
import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent / "generated"))

from nova.queue.v1 import queue_pb2_grpc  # noqa: E402

QUEUE = "words"
KIND = "words.count"


def connect():
    """A channel to the queue, and its stub."""
    home = Path(required("NOVA_HOME"))
    endpoint = json.loads((home / "mesh.json").read_text())["endpoints"]["queue"]
    tls = grpc.ssl_channel_credentials((home / "operator/bundle.pem").read_bytes())
    token = grpc.access_token_call_credentials(required("NOVA_TOKEN").strip())
    credentials = grpc.composite_channel_credentials(tls, token)
    channel = grpc.secure_channel(endpoint.removeprefix("https://"), credentials)
    return channel, queue_pb2_grpc.QueueServiceStub(channel)


def required(name):
    return os.environ.get(name) or sys.exit(f"{name} is not set")
