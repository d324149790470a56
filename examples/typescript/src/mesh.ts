// Reaches the mesh that `nova up` started in NOVA_HOME, with the token in NOVA_TOKEN.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import type { ProtoGrpcType } from "../generated/queue.ts";
import type { QueueServiceClient } from "../generated/nova/queue/v1/QueueService.ts";

export const QUEUE = "words";
export const KIND = "words.count";

const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));

/** A client of the queue; every call shows the token, over TLS that trusts the mesh alone. */
export function connect(): QueueServiceClient {
  const home = required("NOVA_HOME");
  const token = required("NOVA_TOKEN").trim();
  const endpoint: string = JSON.parse(readFileSync(join(home, "mesh.json"), "utf8")).endpoints.queue;
  const tls = grpc.credentials.createSsl(readFileSync(join(home, "operator/bundle.pem")));
  const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    done(null, metadata);
  });
  const options = { keepCase: false, longs: String, enums: String, defaults: true, oneofs: true };
  const definition = loader.loadSync("nova/queue/v1/queue.proto", { ...options, includeDirs: [PROTO] });
  const { nova } = grpc.loadPackageDefinition(definition) as unknown as ProtoGrpcType;
  const credentials = grpc.credentials.combineChannelCredentials(tls, bearer);
  return new nova.queue.v1.QueueService(endpoint.replace("https://", ""), credentials);
}

function required(name: string): string {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}
