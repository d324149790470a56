//! Which calls may be made again although they may have taken effect: all but those that make something new and carry
//! no `request_id` for it.

use nova_proto::{
    lifecycle::v1::{StartRunRequest, StartSessionRequest},
    memory::v1::PutMemoryRequest,
    queue::v1::EnqueueRequest,
};
use prost::Message;

/// Bytes before a message in a call's body: a flag and the message's length.
const PREFIX: usize = 5;

/// Whether the unary call of this path, such as `/nova.queue.v1.QueueService/Enqueue`, and with this body does the same
/// once or twice.
pub fn repeatable(path: &str, body: &[u8]) -> bool {
    let keyed = match path.trim_start_matches('/') {
        "nova.queue.v1.QueueService/Enqueue" => every_task_has_a_key(body),
        "nova.memory.v1.MemoryService/PutMemory" => has_key(body, |put: PutMemoryRequest| put.request_id),
        "nova.lifecycle.v1.SessionService/StartSession" => {
            has_key(body, |start: StartSessionRequest| start.request_id)
        }
        "nova.lifecycle.v1.WorkflowService/StartRun" => {
            has_key(body, |start: StartRunRequest| start.request_id)
        }
        _ => Some(true),
    };
    keyed.unwrap_or(false)
}

fn every_task_has_a_key(body: &[u8]) -> Option<bool> {
    let request: EnqueueRequest = message(body)?;
    Some(request.tasks.iter().all(|task| !task.request_id.is_empty()))
}

fn has_key<M: Message + Default>(body: &[u8], key: impl FnOnce(M) -> String) -> Option<bool> {
    Some(!key(message(body)?).is_empty())
}

fn message<M: Message + Default>(body: &[u8]) -> Option<M> {
    M::decode(body.get(PREFIX..)?).ok()
}

#[cfg(test)]
mod tests {
    use nova_proto::queue::v1::NewTask;
    use prost_types::{FileDescriptorProto, FileDescriptorSet};

    use super::*;

    const ENQUEUE: &str = "/nova.queue.v1.QueueService/Enqueue";

    fn enqueue(keys: &[&str]) -> Vec<u8> {
        let task = |key: &&str| NewTask { request_id: (*key).to_owned(), ..NewTask::default() };
        let request = EnqueueRequest { tasks: keys.iter().map(task).collect(), ..EnqueueRequest::default() };
        [vec![0; PREFIX], request.encode_to_vec()].concat()
    }

    #[test]
    fn an_enqueue_is_repeatable_when_every_task_has_a_key() {
        assert!(repeatable(ENQUEUE, &enqueue(&["a", "b"])));
        assert!(!repeatable(ENQUEUE, &enqueue(&["a", ""])));
        assert!(!repeatable(ENQUEUE, b"no message"));
        assert!(repeatable("/nova.queue.v1.QueueService/Complete", &[0; PREFIX]));
    }

    #[test]
    fn every_request_that_may_carry_a_key_is_looked_at() {
        let all = FileDescriptorSet::decode(nova_proto::DESCRIPTORS).unwrap();
        let with_key: Vec<String> = all.file.iter().flat_map(methods_with_a_key).collect();
        assert_eq!(with_key.len(), 3, "{with_key:?}");
        for method in with_key {
            assert!(!repeatable(&method, &[0; PREFIX]), "{method}");
        }
    }

    /// Methods whose request itself has a `request_id`.
    fn methods_with_a_key(file: &FileDescriptorProto) -> Vec<String> {
        let keyed = |input: &str| {
            let request =
                file.message_type.iter().find(|message| input.ends_with(&format!(".{}", message.name())));
            request.is_some_and(|request| request.field.iter().any(|field| field.name() == "request_id"))
        };
        let methods =
            file.service.iter().flat_map(|service| service.method.iter().map(move |one| (service, one)));
        let methods = methods.filter(|(_, method)| keyed(method.input_type()));
        methods
            .map(|(service, method)| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
            .collect()
    }
}
