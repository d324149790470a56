// Drives asynq: reads a job a line on standard input, answers what came of it on standard output.
//
// bench PORT PAYLOAD
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

const concurrency = 128

var (
	origin  = time.Now()
	redis   asynq.RedisClientOpt
	client  *asynq.Client
	payload int
)

type job struct {
	Do          string   `json:"do"`
	Callers     int      `json:"callers"`
	Batch       int64    `json:"batch"`
	PerSecond   *float64 `json:"per_second"`
	Seconds     *float64 `json:"seconds"`
	Tasks       int64    `json:"tasks"`
	Concurrency int      `json:"concurrency"`
}

type spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

type outcome struct {
	Enqueued  int64   `json:"enqueued"`
	Completed int64   `json:"completed"`
	Seconds   float64 `json:"seconds"`
	Enqueue   *spread `json:"enqueue,omitempty"`
	Start     *spread `json:"start,omitempty"`
}

func spreadOf(times []time.Duration) *spread {
	if len(times) == 0 {
		return nil
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(share float64) float64 {
		return float64(times[min(len(times)-1, int(float64(len(times))*share))]) / 1e6
	}
	return &spread{at(0.5), at(0.99)}
}

// worker is a server, and what its handler saw.
type worker struct {
	server    *asynq.Server
	completed atomic.Int64
	mutex     sync.Mutex
	starts    []time.Duration
}

func open(concurrency int) (*worker, error) {
	config := asynq.Config{
		Concurrency:       concurrency,
		TaskCheckInterval: time.Millisecond,
		LogLevel:          asynq.ErrorLevel,
	}
	seen := &worker{server: asynq.NewServer(redis, config)}
	handle := func(_ context.Context, task *asynq.Task) error {
		began := time.Duration(binary.LittleEndian.Uint64(task.Payload()))
		took := time.Since(origin) - began
		seen.mutex.Lock()
		seen.starts = append(seen.starts, took)
		seen.mutex.Unlock()
		seen.completed.Add(1)
		return nil
	}
	return seen, seen.server.Start(asynq.HandlerFunc(handle))
}

func (w *worker) until(count int64) {
	for w.completed.Load() < count {
		time.Sleep(200 * time.Microsecond)
	}
}

// calls is what producers share.
type calls struct {
	job   job
	end   time.Time
	left  atomic.Int64
	mutex sync.Mutex
	times []time.Duration
	count int64
	err   error
}

// take says how many tasks the next call has.
func (c *calls) take() int64 {
	if c.job.Seconds != nil {
		return c.job.Batch
	}
	after := c.left.Add(-c.job.Batch)
	return max(0, min(c.job.Batch, after+c.job.Batch))
}

// turns waits for a caller's next call. One that is late began when it was due.
func (c *calls) turns(number int) func() time.Time {
	if c.job.PerSecond == nil {
		return time.Now
	}
	every := time.Duration(float64(c.job.Callers) / *c.job.PerSecond * 1e9)
	next := time.Now().Add(every * time.Duration(number) / time.Duration(c.job.Callers))
	return func() time.Time {
		due := next
		next = next.Add(every)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			return time.Now()
		}
		return due
	}
}

func (c *calls) caller(number int) {
	var times []time.Duration
	var count int64
	var err error
	turn := c.turns(number)
	for err == nil {
		began := turn()
		if c.job.Seconds != nil && !began.Before(c.end) {
			break
		}
		size := c.take()
		if size == 0 {
			break
		}
		for i := int64(0); i < size && err == nil; i++ {
			body := make([]byte, payload)
			binary.LittleEndian.PutUint64(body, uint64(began.Sub(origin)))
			_, err = client.Enqueue(asynq.NewTask("bench", body))
		}
		times = append(times, time.Since(began))
		count += size
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.times, c.count = append(c.times, times...), c.count+count
	if err != nil {
		c.err = err
	}
}

func produce(job job) *calls {
	all := &calls{job: job}
	all.left.Store(job.Tasks)
	if job.Seconds != nil {
		all.end = time.Now().Add(time.Duration(*job.Seconds * 1e9))
	}
	var callers sync.WaitGroup
	for number := range job.Callers {
		callers.Go(func() { all.caller(number) })
	}
	callers.Wait()
	return all
}

func lives(job job) (outcome, error) {
	worker, err := open(concurrency)
	if err != nil {
		return outcome{}, err
	}
	began := time.Now()
	all := produce(job)
	if all.err == nil {
		worker.until(all.count)
	}
	took := time.Since(began).Seconds()
	worker.server.Shutdown()
	if completed := worker.completed.Load(); all.err == nil && completed != all.count {
		return outcome{}, fmt.Errorf("%d completed of %d", completed, all.count)
	}
	return outcome{all.count, all.count, took, spreadOf(all.times), spreadOf(worker.starts)}, all.err
}

func add(job job) (outcome, error) {
	began := time.Now()
	all := produce(job)
	return outcome{all.count, 0, time.Since(began).Seconds(), spreadOf(all.times), nil}, all.err
}

func work(job job) (outcome, error) {
	began := time.Now()
	worker, err := open(job.Concurrency)
	if err != nil {
		return outcome{}, err
	}
	worker.until(job.Tasks)
	took := time.Since(began).Seconds()
	inTime := worker.completed.Load()
	worker.server.Shutdown()
	all := worker.completed.Load()
	return outcome{0, all, took * float64(all) / float64(inTime), nil, nil}, nil
}

func main() {
	payload, _ = strconv.Atoi(os.Args[2])
	redis = asynq.RedisClientOpt{Addr: "127.0.0.1:" + os.Args[1]}
	client = asynq.NewClient(redis)
	does := map[string]func(job) (outcome, error){"lives": lives, "add": add, "work": work}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var job job
		err := json.Unmarshal(lines.Bytes(), &job)
		var answer any
		if err == nil {
			answer, err = does[job.Do](job)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if answers.Encode(answer) != nil {
			return
		}
	}
}
