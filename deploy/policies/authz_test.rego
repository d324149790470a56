# What the default policy promises. A revision whose tests fail is not activated.
package nova.authz_test

import data.nova.authz

question(principal, roles, method) := {
	"subject": concat("", ["spiffe://nova.local/", principal]),
	"principal": principal,
	"roles": roles,
	"credential": "certificate",
	"service": "queue",
	"method": method,
}

allowed(roles, method) if {
	authz.decision.allow with input as question("agent/orion", roles, method)
}

mesh_methods := {method | some method, _ in authz.permitted; startswith(method, "nova.")}

test_an_anonymous_caller_may_call_nothing_of_the_mesh if {
	every method in mesh_methods {
		not anonymous_may(method)
	}
}

anonymous_may(method) if {
	asked := {"subject": "", "principal": "", "roles": [], "service": "queue", "method": method}
	authz.decision.allow with input as asked
}

test_what_nobody_asks_about_has_no_rule if {
	every method in {"grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch", "metrics/read"} {
		not anonymous_may(method)
		not allowed(["operator", "worker"], method)
	}
}

test_only_who_can_have_a_certificate_renews_it if {
	renew := "nova.identity.v1.IdentityService/RenewX509"
	every role in {"daemon", "agent", "operator"} {
		allowed([role], renew)
	}
	not allowed(["worker", "developer", "viewer", "joining"], renew)
}

test_reflection_needs_an_identity if {
	reflection := "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	not anonymous_may(reflection)
	allowed([], reflection)
	allowed([], "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
}

test_an_identity_without_roles_may_only_read_the_bundle if {
	may := {method | some method in mesh_methods; allowed([], method)}
	may == {"nova.identity.v1.IdentityService/GetBundle"}
}

test_an_administrator_may_do_everything if {
	every method in mesh_methods {
		allowed(["admin"], method)
	}
	allowed(["admin"], "nova.unheard.v1.OfService/Method")
}

test_a_method_outside_the_table_is_denied_to_everybody_else if {
	everybody := ["operator", "developer", "viewer", "worker", "agent", "daemon", "lifecycle", "node", "joining"]
	not allowed(everybody, "nova.unheard.v1.OfService/Method")
	not allowed(everybody, "")
}

test_an_agent_may_do_its_work_and_no_more if {
	may := {method | some method in mesh_methods; allowed(["agent"], method)}
	may == {
		"nova.identity.v1.IdentityService/GetBundle",
		"nova.identity.v1.IdentityService/RenewX509",
		"nova.lifecycle.v1.AgentService/GetAgent",
		"nova.lifecycle.v1.AgentService/HeartbeatAgent",
		"nova.lifecycle.v1.SessionService/GetSession",
		"nova.lifecycle.v1.SessionService/UpdateSession",
		"nova.memory.v1.MemoryService/GetMemory",
		"nova.memory.v1.MemoryService/PutMemory",
		"nova.memory.v1.MemoryService/SearchMemories",
		"nova.queue.v1.QueueService/Complete",
		"nova.queue.v1.QueueService/Fail",
		"nova.queue.v1.QueueService/GetTask",
		"nova.queue.v1.QueueService/Heartbeat",
		"nova.queue.v1.QueueService/Lease",
		"nova.queue.v1.QueueService/ProveLeases",
		"nova.queue.v1.QueueService/Release",
		"nova.queue.v1.QueueService/Work",
	}
}

test_a_worker_may_enqueue_but_starts_no_process if {
	allowed(["worker"], "nova.queue.v1.QueueService/Enqueue")
	allowed(["worker"], "nova.queue.v1.QueueService/Work")
	not allowed(["worker"], "nova.queue.v1.QueueService/PutSchedule")
	not allowed(["worker"], "nova.node.v1.NodeService/StartProcess")
	not allowed(["worker"], "nova.policy.v1.PolicyService/PutPolicy")
}

test_a_viewer_only_reads if {
	may := {method | some method in mesh_methods; allowed(["viewer"], method)}
	every method in may {
		verb := split(method, "/")[1]
		regex.match(`^(Get|List|Watch|Stream|Search|Check|Explain|Validate)`, verb)
	}
	not "nova.policy.v1.PolicyService/WatchSnapshots" in may
}

test_a_joining_process_may_only_attest_itself if {
	may := {method | some method in mesh_methods; allowed(["joining"], method)}
	may == {
		"nova.identity.v1.IdentityService/AttestWorkload",
		"nova.identity.v1.IdentityService/GetBundle",
	}
}

test_every_daemon_may_watch_report_and_renew if {
	every method in {
		"nova.policy.v1.PolicyService/WatchSnapshots",
		"nova.policy.v1.PolicyService/ReportDecisions",
		"nova.identity.v1.IdentityService/RenewX509",
	} {
		allowed(["daemon", "queue"], method)
	}
	not allowed(["daemon", "queue"], "nova.queue.v1.QueueService/Enqueue")
}

test_lifecycle_drives_runs if {
	every method in {
		"nova.queue.v1.QueueService/Enqueue",
		"nova.queue.v1.QueueService/PutSchedule",
		"nova.queue.v1.QueueService/WatchTasks",
		"nova.queue.v1.QueueService/ListTasks",
		"nova.queue.v1.QueueService/GetTask",
		"nova.identity.v1.IdentityService/RegisterAgent",
		"nova.node.v1.NodeService/StartProcess",
		"nova.node.v1.NodeService/StopProcess",
		"nova.node.v1.NodeService/WatchProcesses",
		"nova.policy.v1.PolicyService/ListDecisions",
		"nova.policy.v1.PolicyService/Explain",
	} {
		allowed(["daemon", "lifecycle"], method)
	}
	not allowed(["daemon", "lifecycle"], "nova.policy.v1.PolicyService/PutPolicy")
}

test_the_node_agent_makes_join_tokens if {
	allowed(["daemon", "node"], "nova.identity.v1.IdentityService/CreateJoinToken")
	allowed(["daemon", "node"], "nova.lifecycle.v1.AgentService/HeartbeatAgent")
	not allowed(["daemon", "node"], "nova.identity.v1.IdentityService/MintToken")
}

test_data_binds_roles_to_principals if {
	enqueue := "nova.queue.v1.QueueService/Enqueue"
	authz.decision.allow with input as question("user/eve", [], enqueue)
		with data.bindings as {"user/eve": ["developer"]}
	not unbound_may(enqueue)
}

test_data_binds_nothing_to_a_token if {
	put := "nova.policy.v1.PolicyService/PutPolicy"
	certified := question("user/operator", [], put)
	token := object.union(question("user/operator", ["viewer"], put), {"credential": "token"})
	unproven := object.remove(certified, ["credential"])
	bindings := {"user/operator": ["operator"]}
	authz.decision.allow with input as certified with data.bindings as bindings
	every asked in [token, unproven] {
		not bound_may(asked, bindings)
	}
}

bound_may(asked, bindings) if {
	authz.decision.allow with input as asked with data.bindings as bindings
}

unbound_may(method) if {
	authz.decision.allow with input as question("user/eve", [], method)
		with data.bindings as {}
}

test_a_denial_says_what_would_be_allowed if {
	decision := authz.decision with input as question("agent/orion", ["agent"], "nova.node.v1.NodeService/StartProcess")
	decision.allow == false
	contains(decision.why, "agent")
	contains(decision.remedy, "lifecycle, operator")
}
