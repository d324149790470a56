# Who may call what in the mesh: default deny, least privilege per daemon and role.
#
# input: {subject, principal, roles, credential, service, method}
#   subject    SPIFFE id of the caller, empty when it is anonymous
#   principal  its path, such as `user/operator` or `svc/queue`
#   credential `certificate` or `token`: what proved who calls
#   method     `nova.queue.v1.QueueService/Enqueue`
#
# Not asked about, since it is open to all: `grpc.health`, and `/live`, `/ready`, `/metrics` of the HTTP listener. Who
# balances load or scrapes has no identity; who may come near them, the address decides that they listen on. Nor is it
# about who shows no identity at all: the guard before it turns those away.
# data.bindings: roles that principals have beside those of their identity; for certificates
#   alone, since whoever may mint a token chooses its subject
package nova.authz

# The answer: whether, why in a sentence, and what would have to change.
default decision := {"allow": false, "why": "no rule allows it"}

decision := {"allow": true, "why": concat("; ", granted)} if count(granted) > 0

decision := {"allow": false, "why": why_denied, "remedy": remedy} if count(granted) == 0

# Roles of the caller: of its identity, bound by data, and what everybody has who is known.
roles := {role | some role in input.roles} | bound | identified

default bound := set()

bound := {role | some role in object.get(data.bindings, input.principal, [])} if input.credential == "certificate"

default identified := set()

identified := {"identified"} if input.subject != ""

# An administrator may do everything.
granted contains "the role admin may do everything" if {
	"admin" in roles
}

# A role that the table names for the method may call it.
granted contains sprintf("the role %s may call %s", [role, input.method]) if {
	some role in permitted[input.method]
	role in roles
}

why_denied := sprintf("%s with %s may not call %s", [caller, given, input.method])

default given := "no role"

given := sprintf("the roles %s", [concat(", ", named)]) if count(named) > 0

named := roles - {"identified"}

default caller := "an anonymous caller"

caller := input.subject if input.subject != ""

default remedy := "no role but admin may call it: the method is not in the table"

remedy := sprintf("it would be allowed with one of the roles: %s", [concat(", ", needed)]) if {
	needed := permitted[input.method]
}

# Which roles may call which method; what is not here, no role but admin may.
permitted := {
	# Beside the mesh's own methods.
	"grpc.reflection.v1.ServerReflection/ServerReflectionInfo": {"identified"},
	"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {"identified"},

	# Queue.
	"nova.queue.v1.QueueService/Enqueue": {"operator", "developer", "lifecycle", "worker"},
	"nova.queue.v1.QueueService/Lease": {"worker", "agent"},
	"nova.queue.v1.QueueService/Heartbeat": {"worker", "agent"},
	"nova.queue.v1.QueueService/Complete": {"worker", "agent"},
	"nova.queue.v1.QueueService/Fail": {"worker", "agent"},
	"nova.queue.v1.QueueService/Release": {"worker", "agent"},
	"nova.queue.v1.QueueService/Work": {"worker", "agent"},
	"nova.queue.v1.QueueService/ProveLeases": {"worker", "agent"},
	"nova.queue.v1.QueueService/GetTask": {"operator", "developer", "viewer", "lifecycle", "worker", "agent"},
	"nova.queue.v1.QueueService/ListTasks": {"operator", "developer", "viewer", "lifecycle"},
	"nova.queue.v1.QueueService/ListQueues": {"operator", "developer", "viewer"},
	"nova.queue.v1.QueueService/WatchTasks": {"operator", "developer", "viewer", "lifecycle"},
	"nova.queue.v1.QueueService/CancelTasks": {"operator", "developer", "lifecycle"},
	"nova.queue.v1.QueueService/RedriveTasks": {"operator", "developer"},
	"nova.queue.v1.QueueService/PurgeTasks": {"operator"},
	"nova.queue.v1.QueueService/GetQueue": {"operator", "developer", "viewer"},
	"nova.queue.v1.QueueService/UpdateQueue": {"operator"},
	"nova.queue.v1.QueueService/PauseQueue": {"operator"},
	"nova.queue.v1.QueueService/DrainQueue": {"operator"},
	"nova.queue.v1.QueueService/ResumeQueue": {"operator"},
	"nova.queue.v1.QueueService/DeleteQueue": {"operator"},
	"nova.queue.v1.QueueService/PutSchedule": {"operator", "developer", "lifecycle"},
	"nova.queue.v1.QueueService/GetSchedule": {"operator", "developer", "viewer", "lifecycle"},
	"nova.queue.v1.QueueService/ListSchedules": {"operator", "developer", "viewer", "lifecycle"},
	"nova.queue.v1.QueueService/DeleteSchedule": {"operator", "developer", "lifecycle"},
	"nova.queue.v1.QueueService/ListWorkers": {"operator", "developer", "viewer"},

	# Lifecycle: agents.
	"nova.lifecycle.v1.AgentService/RegisterAgent": {"operator", "developer"},
	"nova.lifecycle.v1.AgentService/GetAgent": {"operator", "developer", "viewer", "agent"},
	"nova.lifecycle.v1.AgentService/ListAgents": {"operator", "developer", "viewer"},
	"nova.lifecycle.v1.AgentService/SetAgentState": {"operator"},
	"nova.lifecycle.v1.AgentService/HeartbeatAgent": {"agent", "node"},
	"nova.lifecycle.v1.AgentService/ListAgentTransitions": {"operator", "developer", "viewer"},

	# Lifecycle: sessions.
	"nova.lifecycle.v1.SessionService/StartSession": {"operator", "developer"},
	"nova.lifecycle.v1.SessionService/UpdateSession": {"operator", "developer", "agent"},
	"nova.lifecycle.v1.SessionService/GetSession": {"operator", "developer", "viewer", "agent"},
	"nova.lifecycle.v1.SessionService/ListSessions": {"operator", "developer", "viewer"},

	# Lifecycle: runs.
	"nova.lifecycle.v1.WorkflowService/ValidatePlan": {"operator", "developer", "viewer"},
	"nova.lifecycle.v1.WorkflowService/StartRun": {"operator", "developer"},
	"nova.lifecycle.v1.WorkflowService/CancelRun": {"operator", "developer"},
	"nova.lifecycle.v1.WorkflowService/GetRun": {"operator", "developer", "viewer"},
	"nova.lifecycle.v1.WorkflowService/ListRuns": {"operator", "developer", "viewer"},
	"nova.lifecycle.v1.WorkflowService/WatchRun": {"operator", "developer", "viewer"},
	"nova.lifecycle.v1.WorkflowService/GetRunReport": {"operator", "developer", "viewer"},

	# Identity.
	"nova.identity.v1.IdentityService/AttestWorkload": {"joining"},
	"nova.identity.v1.IdentityService/RenewX509": {"daemon", "agent", "operator"},
	"nova.identity.v1.IdentityService/CreateJoinToken": {"operator", "node"},
	"nova.identity.v1.IdentityService/MintToken": {"operator"},
	"nova.identity.v1.IdentityService/GetBundle": {"identified"},
	"nova.identity.v1.IdentityService/RegisterAgent": {"operator", "lifecycle"},
	"nova.identity.v1.IdentityService/GetAgentIdentity": {"operator", "developer", "viewer", "lifecycle"},
	"nova.identity.v1.IdentityService/ListAgentIdentities": {"operator", "developer", "viewer"},

	# Memory.
	"nova.memory.v1.MemoryService/PutMemory": {"operator", "developer", "worker", "agent"},
	"nova.memory.v1.MemoryService/GetMemory": {"operator", "developer", "viewer", "worker", "agent"},
	"nova.memory.v1.MemoryService/SearchMemories": {"operator", "developer", "viewer", "worker", "agent"},

	# Node.
	"nova.node.v1.NodeService/GetNode": {"operator", "developer", "viewer", "lifecycle"},
	"nova.node.v1.NodeService/GetTelemetry": {"operator", "developer", "viewer", "lifecycle"},
	"nova.node.v1.NodeService/StreamTelemetry": {"operator", "developer", "viewer"},
	"nova.node.v1.NodeService/StartProcess": {"operator", "lifecycle"},
	"nova.node.v1.NodeService/StopProcess": {"operator", "lifecycle"},
	"nova.node.v1.NodeService/GetProcess": {"operator", "developer", "viewer", "lifecycle"},
	"nova.node.v1.NodeService/ListProcesses": {"operator", "developer", "viewer", "lifecycle"},
	"nova.node.v1.NodeService/WatchProcesses": {"operator", "developer", "viewer", "lifecycle"},
	"nova.node.v1.NodeService/StreamLogs": {"operator", "developer", "viewer"},

	# Policy.
	"nova.policy.v1.PolicyService/Check": {"operator", "developer", "viewer"},
	"nova.policy.v1.PolicyService/Explain": {"operator", "developer", "viewer", "lifecycle"},
	"nova.policy.v1.PolicyService/ListDecisions": {"operator", "developer", "viewer", "lifecycle"},
	"nova.policy.v1.PolicyService/ReportDecisions": {"daemon"},
	"nova.policy.v1.PolicyService/WatchSnapshots": {"daemon"},
	"nova.policy.v1.PolicyService/PutPolicy": {"operator"},
	"nova.policy.v1.PolicyService/GetPolicy": {"operator", "developer", "viewer"},
	"nova.policy.v1.PolicyService/ListPolicies": {"operator", "developer", "viewer"},
	"nova.policy.v1.PolicyService/DeletePolicy": {"operator"},
	"nova.policy.v1.PolicyService/GetPolicyStatus": {"operator", "developer", "viewer"},
}
