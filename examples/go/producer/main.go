// Enqueues one task and waits for its result: producer TEXT.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	queue "nova.example/generated/queue"
	"nova.example/mesh"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: producer TEXT")
	}
	client, connection, err := mesh.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	task, err := produce(client, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if task.State != queue.TaskState_TASK_STATE_COMPLETED {
		log.Fatalf("the task is %v: %v", task.State, task.LastError)
	}
	fmt.Printf("attempt %d: %s\n", task.Attempts, task.Result)
}

// produce enqueues a text and answers its task once that has ended.
func produce(client queue.QueueServiceClient, text string) (*queue.Task, error) {
	ctx := context.Background()
	payload, err := json.Marshal(mesh.CountWords{Text: text, Flaky: true, WaitMs: 500})
	if err != nil {
		return nil, err
	}
	// The same text is the same task, however often it is sent: after a call without an answer, or from another producer.
	key := fmt.Sprintf("go-%x", sha256.Sum256([]byte(text)))
	stored, err := client.Enqueue(ctx, &queue.EnqueueRequest{Tasks: []*queue.NewTask{{
		Queue: mesh.Queue, Kind: mesh.Kind, Payload: payload, RequestId: key,
		Metadata: map[string]string{"example": "go"},
	}}})
	if err != nil {
		return nil, err
	}
	// Each call waits for the end of the task, ten seconds at most.
	request := &queue.GetTaskRequest{TaskId: stored.Tasks[0].Id, Wait: durationpb.New(10 * time.Second)}
	for {
		answer, err := client.GetTask(ctx, request)
		if err != nil {
			return nil, err
		}
		switch answer.Task.State {
		case queue.TaskState_TASK_STATE_COMPLETED, queue.TaskState_TASK_STATE_DEAD, queue.TaskState_TASK_STATE_CANCELLED:
			return answer.Task, nil
		}
	}
}
