#!/bin/sh
# Makes the stubs of the queue in generated/. PYTHON may name another interpreter.
set -eu
cd "$(dirname "$0")"
mkdir -p generated
${PYTHON:-python3} -m grpc_tools.protoc -I../../proto --python_out=generated --grpc_python_out=generated \
  ../../proto/nova/queue/v1/*.proto
