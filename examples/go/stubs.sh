#!/bin/sh
# Makes the stubs of the queue in generated/. PROTOC may name another protoc, such as `python3 -m grpc_tools.protoc`.
set -eu
cd "$(dirname "$0")"
mkdir -p generated/bin
GOBIN="$PWD/generated/bin" go install tool
file=nova/queue/v1/queue.proto
package=nova.example/generated/queue
PATH="$PWD/generated/bin:$PATH" ${PROTOC:-protoc} -I../../proto \
  --go_out=. --go_opt=module=nova.example --go_opt="M$file=$package" \
  --go-grpc_out=. --go-grpc_opt=module=nova.example --go-grpc_opt="M$file=$package" \
  "$file"
