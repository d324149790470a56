// Package mesh reaches the mesh that `nova up` started in NOVA_HOME, with the token in NOVA_TOKEN.
package mesh

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	queue "nova.example/generated/queue"
)

const (
	// Queue is where the tasks wait.
	Queue = "words"
	// Kind of the tasks.
	Kind = "words.count"
)

// CountWords is the task: a text, whether the first attempt is to fail to show a retry, and how long it is not to be
// counted after it was stored, milliseconds.
type CountWords struct {
	Text   string `json:"text"`
	Flaky  bool   `json:"flaky"`
	WaitMs int64  `json:"wait_ms"`
}

// Counted is the result: words in all, the most frequent one, and how often that occurs.
type Counted struct {
	Words int    `json:"words"`
	Top   string `json:"top"`
	Times int    `json:"times"`
}

type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// Connect answers a client of the queue, over TLS that trusts the mesh alone.
func Connect() (queue.QueueServiceClient, *grpc.ClientConn, error) {
	home := os.Getenv("NOVA_HOME")
	text, err := os.ReadFile(filepath.Join(home, "mesh.json"))
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		Endpoints struct{ Queue string }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, nil, err
	}
	tls, err := credentials.NewClientTLSFromFile(filepath.Join(home, "operator", "bundle.pem"), "")
	if err != nil {
		return nil, nil, err
	}
	token := bearer(strings.TrimSpace(os.Getenv("NOVA_TOKEN")))
	address := strings.TrimPrefix(file.Endpoints.Queue, "https://")
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(tls), grpc.WithPerRPCCredentials(token))
	if err != nil {
		return nil, nil, err
	}
	return queue.NewQueueServiceClient(connection), connection, nil
}
