"""A worker made from the .proto files alone: client.py PROTO FOLDER ADDRESS ROOTS, with NOVA_TOKEN."""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

proto, folder, address, roots = sys.argv[1:]
generated = Path(folder) / "generated"
generated.mkdir(exist_ok=True)
bundled = Path(protoc.__file__).parent / "_proto"
arguments = ["protoc", f"-I{proto}", f"-I{bundled}", f"--python_out={generated}", f"--grpc_python_out={generated}"]
contracts = [str(path) for path in sorted(Path(proto, "nova/queue/v1").glob("*.proto"))]
assert protoc.main([*arguments, *contracts]) == 0
sys.path.insert(0, str(generated))

from nova.queue.v1 import queue_pb2 as queue  # noqa: E402
from nova.queue.v1 import queue_pb2_grpc as queue_grpc  # noqa: E402
from nova.queue.v1 import task_pb2 as tasks  # noqa: E402
from nova.queue.v1 import work_pb2 as work  # noqa: E402

tls = grpc.ssl_channel_credentials(Path(roots).read_bytes())
token = grpc.access_token_call_credentials(os.environ["NOVA_TOKEN"])

with grpc.secure_channel(address, tls) as anonymous:
    health = health_pb2_grpc.HealthStub(anonymous).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING, health
    try:
        queue_grpc.QueueServiceStub(anonymous).ListQueues(queue.ListQueuesRequest(), timeout=10)
        raise AssertionError("a caller without identity was served")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error

with grpc.secure_channel(address, grpc.composite_channel_credentials(tls, token)) as channel:
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "nova.queue.v1.QueueService" in services, services

    stub = queue_grpc.QueueServiceStub(channel)
    task = tasks.NewTask(queue="python", kind="greet", payload=b"hello", request_id="greet-1")
    first = stub.Enqueue(queue.EnqueueRequest(tasks=[task]), timeout=10).tasks[0]
    again = stub.Enqueue(queue.EnqueueRequest(tasks=[task]), timeout=10).tasks[0]
    assert again.id == first.id and again.duplicate and not first.duplicate

    lease = stub.Lease(queue.LeaseRequest(queues=["python"], worker="py"), timeout=10).leases[0]
    assert lease.task.id == first.id and lease.task.payload == b"hello" and lease.attempt == 1
    mine = work.LeaseRef(task_id=lease.task.id, token=lease.token)
    assert not stub.Heartbeat(work.HeartbeatRequest(leases=[mine]), timeout=10).results[0].lost

    stale = work.LeaseRef(task_id=lease.task.id, token=lease.token - 1)
    try:
        stub.Complete(queue.CompleteRequest(lease=stale, result=b"no"), timeout=10)
        raise AssertionError("a stale token was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error

    stub.Complete(queue.CompleteRequest(lease=mine, result=b"hello, world"), timeout=10)
    ended = stub.GetTask(queue.GetTaskRequest(task_id=first.id), timeout=10).task
    assert ended.state == tasks.TASK_STATE_COMPLETED and ended.result == b"hello, world", ended

print("a whole life")
