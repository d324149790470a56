#!/bin/sh
# Makes the stubs of the queue in generated/. PROTOC may name another protoc, such as `python3 -m grpc_tools.protoc`.
set -eu
cd "$(dirname "$0")"
mkdir -p generated/bin
GOBIN="$PWD/generated/bin" go install tool
# One Go package for all files of the service.
set -- ../../proto/nova/queue/v1/*.proto
packages=
for file in "$@"; do
  package="M${file#../../proto/}=nova.example/generated/queue"
  packages="$packages --go_opt=$package --go-grpc_opt=$package"
done
PATH="$PWD/generated/bin:$PATH" ${PROTOC:-protoc} -I../../proto $packages \
  --go_out=. --go_opt=module=nova.example --go-grpc_out=. --go-grpc_opt=module=nova.example "$@"
