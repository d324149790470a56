// Counts words until it is told to end (Ctrl-C or SIGTERM), then finishes what it has begun.
//
// It leases as many tasks as it has places for, works on each in a goroutine, and keeps all leases with one heartbeat.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	queue "nova.example/generated/queue"
	"nova.example/mesh"
)

const (
	places        = 4
	leaseDuration = 30 * time.Second
	part          = 2 // Words between two checkpoints; real work has more between them.
)

// failure is a failed attempt.
type failure struct {
	reason, message string
	permanent       bool
	retryAfter      time.Duration
}

func (f *failure) Error() string { return f.reason + ": " + f.message }

// snooze puts the task off; the attempt does not count.
type snooze time.Duration

func (s snooze) Error() string { return "not before " + time.Duration(s).String() }

// checkpoint is what was counted so far: the next attempt goes on from here.
type checkpoint struct {
	Words  int            `json:"words"`
	Counts map[string]int `json:"counts"`
}

// count is the work itself: the number of words, and the most frequent one. It reports what was done part by part.
func count(task mesh.CountWords, lease *queue.Lease, done checkpoint, report func(float64, checkpoint) error) (*mesh.Counted, error) {
	wait := time.Duration(task.WaitMs) * time.Millisecond
	if early := time.Until(lease.Task.CreateTime.AsTime().Add(wait)); early > 0 {
		return nil, snooze(early)
	}
	separator := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	words := strings.FieldsFunc(strings.ToLower(task.Text), separator)
	if len(words) == 0 {
		return nil, &failure{reason: "NO_WORDS", message: "the text has no words", permanent: true}
	}
	times := done.Counts
	for done.Words < len(words) {
		end := min(done.Words+part, len(words))
		for _, word := range words[done.Words:end] {
			times[word]++
		}
		done.Words = end
		if err := report(float64(end)/float64(len(words)), done); err != nil {
			return nil, err
		}
		if task.Flaky && lease.Attempt == 1 {
			return nil, &failure{reason: "UNLUCKY", message: "the first attempt fails", retryAfter: 100 * time.Millisecond}
		}
	}
	top := words[0]
	for word, n := range times {
		if n > times[top] || n == times[top] && word < top {
			top = word
		}
	}
	return &mesh.Counted{Words: len(words), Top: top, Times: times[top]}, nil
}

type worker struct {
	client  queue.QueueServiceClient
	mutex   sync.Mutex
	held    map[uint64]held // by token
	running sync.WaitGroup
}

type held struct {
	lease *queue.LeaseRef
	lost  context.CancelFunc
}

// lease waits a second for a task, and answers nil when there is none.
func (w *worker) lease() *queue.Lease {
	answer, err := w.client.Lease(context.Background(), &queue.LeaseRequest{
		Queues:        []string{mesh.Queue},
		Worker:        "go",
		LeaseDuration: durationpb.New(leaseDuration),
		MaxTasks:      1,
		Wait:          durationpb.New(time.Second),
	})
	if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
		// Asking again does not help: the token has ended, is of another mesh, or may not do this.
		w.running.Wait()
		log.Fatalf("the queue refuses this worker: %v", err)
	}
	if err != nil {
		log.Printf("no lease: %v", err)
		time.Sleep(500 * time.Millisecond)
		return nil
	}
	if len(answer.Leases) == 0 {
		return nil
	}
	return answer.Leases[0]
}

// attempt works on one lease and settles it, unless it was lost meanwhile.
func (w *worker) attempt(lease *queue.Lease) {
	mine := &queue.LeaseRef{TaskId: lease.Task.Id, Token: lease.Token}
	ctx, lost := context.WithCancel(context.Background())
	defer lost()
	w.mutex.Lock()
	w.held[lease.Token] = held{mine, lost}
	w.mutex.Unlock()
	result, err := w.run(ctx, lease)
	w.mutex.Lock()
	delete(w.held, lease.Token)
	w.mutex.Unlock()
	if ctx.Err() != nil {
		log.Printf("stopped: the lease of %s is lost", mine.TaskId)
		return
	}
	w.settle(mine, result, err)
}

// run reads the task and writes the result; a panic is a failed attempt, not the end of the worker.
func (w *worker) run(ctx context.Context, lease *queue.Lease) (result []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = &failure{reason: "HANDLER_PANICKED", message: fmt.Sprint(panicked)}
		}
	}()
	if lease.Task.Kind != mesh.Kind {
		log.Printf("handed back: %s is for a newer worker", lease.Task.Kind)
		return nil, snooze(5 * time.Second)
	}
	var task mesh.CountWords
	if err := json.Unmarshal(lease.Task.Payload, &task); err != nil {
		return nil, &failure{reason: "INVALID_PAYLOAD", message: err.Error(), permanent: true}
	}
	done := checkpoint{Counts: map[string]int{}}
	if len(lease.Task.Checkpoint) > 0 {
		if err := json.Unmarshal(lease.Task.Checkpoint, &done); err != nil {
			return nil, &failure{reason: "INVALID_CHECKPOINT", message: err.Error()}
		}
	}
	counted, err := count(task, lease, done, func(fraction float64, done checkpoint) error {
		w.report(ctx, lease, fraction, done)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(counted)
}

// report tells progress and leaves a checkpoint for the next attempt, which the queue has once this returns. Without it
// that attempt would only do more again.
func (w *worker) report(ctx context.Context, lease *queue.Lease, fraction float64, done checkpoint) {
	left, err := json.Marshal(done)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var answer *queue.HeartbeatResponse
		answer, err = w.client.Heartbeat(ctx, &queue.HeartbeatRequest{
			LeaseDuration: durationpb.New(leaseDuration),
			Reports: []*queue.LeaseReport{{
				Lease:      &queue.LeaseRef{TaskId: lease.Task.Id, Token: lease.Token},
				Progress:   &queue.Progress{Fraction: fraction, Note: "counting"},
				Checkpoint: left,
			}},
		})
		if err == nil && answer.Results[0].Lost {
			w.lose(lease.Token)
		}
	}
	if err != nil {
		log.Printf("no checkpoint: %v", err)
	}
}

// settle repeats itself until the queue has answered: settling is idempotent.
func (w *worker) settle(lease *queue.LeaseRef, result []byte, err error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer := w.send(ctx, lease, result, err)
		cancel()
		switch status.Code(answer) {
		case codes.OK:
			return
		case codes.Unavailable, codes.DeadlineExceeded:
			time.Sleep(500 * time.Millisecond)
		default:
			log.Printf("not settled: %v", answer)
			return
		}
	}
}

func (w *worker) send(ctx context.Context, lease *queue.LeaseRef, result []byte, err error) error {
	if err == nil {
		_, answer := w.client.Complete(ctx, &queue.CompleteRequest{Lease: lease, Result: result})
		return answer
	}
	var later snooze
	if errors.As(err, &later) {
		delay := durationpb.New(time.Duration(later))
		_, answer := w.client.Release(ctx, &queue.ReleaseRequest{Lease: lease, Delay: delay})
		return answer
	}
	failed := &failure{reason: "HANDLER_FAILED", message: err.Error()}
	errors.As(err, &failed)
	request := &queue.FailRequest{
		Lease:     lease,
		Error:     &queue.TaskError{Reason: failed.reason, Message: failed.message},
		Permanent: failed.permanent,
	}
	if failed.retryAfter > 0 {
		request.RetryAfter = durationpb.New(failed.retryAfter)
	}
	_, answer := w.client.Fail(ctx, request)
	return answer
}

// beat keeps every lease with one message, and stops what lost its own.
func (w *worker) beat() {
	for range time.Tick(leaseDuration / 3) {
		request := &queue.HeartbeatRequest{LeaseDuration: durationpb.New(leaseDuration)}
		w.mutex.Lock()
		for _, held := range w.held {
			request.Leases = append(request.Leases, held.lease)
		}
		w.mutex.Unlock()
		if len(request.Leases) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer, err := w.client.Heartbeat(ctx, request)
		cancel()
		if err != nil {
			continue // The next one may be heard: leases outlive two that are not.
		}
		for i, result := range answer.Results {
			if result.Lost {
				w.lose(request.Leases[i].Token)
			}
		}
	}
}

// lose stops the attempt under a lease that the queue has taken away.
func (w *worker) lose(token uint64) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if held, ok := w.held[token]; ok {
		held.lost()
	}
}

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	client, connection, err := mesh.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	w := &worker{client: client, held: map[uint64]held{}}
	go w.beat()
	taken := make(chan struct{}, places)
	for stop.Err() == nil {
		select {
		case taken <- struct{}{}: // Before the lease: one that waited for a place would have no heartbeat.
		case <-stop.Done():
			continue
		}
		lease := w.lease()
		if lease == nil {
			<-taken
			continue
		}
		w.running.Add(1)
		go func() {
			defer func() { <-taken; w.running.Done() }()
			w.attempt(lease)
		}()
	}
	w.running.Wait()
	fmt.Println("drained")
}
