"""Enqueues one task and waits for its result: producer.py TEXT."""

import hashlib
import json
import sys

from google.protobuf.duration_pb2 import Duration
from mesh import KIND, QUEUE, connect
from nova.queue.v1 import queue_pb2 as queue, task_pb2 as tasks

ENDED = (tasks.TASK_STATE_COMPLETED, tasks.TASK_STATE_DEAD, tasks.TASK_STATE_CANCELLED)

if len(sys.argv) != 2:
    sys.exit("usage: producer.py TEXT")
channel, stub = connect()
with channel:
    text = sys.argv[1]
    payload = json.dumps({"text": text, "flaky": True, "wait_ms": 500}).encode()
    # The same text is the same task, however often it is sent: after a call without an answer, or from another producer.
    key = f"python-{hashlib.sha256(text.encode()).hexdigest()}"
    task = tasks.NewTask(queue=QUEUE, kind=KIND, payload=payload, request_id=key, metadata={"example": "python"})
    stored = stub.Enqueue(queue.EnqueueRequest(tasks=[task]), timeout=10).tasks[0]
    # Each call waits for the end of the task, ten seconds at most.
    result = queue.GetTaskRequest(task_id=stored.id, wait=Duration(seconds=10))
    while (task := stub.GetTask(result, timeout=15).task).state not in ENDED:
        pass

if task.state != tasks.TASK_STATE_COMPLETED:
    sys.exit(f"the task is {tasks.TaskState.Name(task.state)}: {task.last_error}")
print(f"attempt {task.attempts}: {task.result.decode()}")
