package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hybrid.platform/workloads/internal/service"
)

const (
	childArgument = "run-script"
	maxBody       = 64 << 10
)

// limits bound what one script may use, and how many may run at once.
type limits struct {
	Steps  uint64        `json:"steps"`
	Memory uint64        `json:"memory"`
	Time   time.Duration `json:"-"`
	AtOnce int           `json:"-"`
}

// Two scripts at once with these fit into a container of 128 MiB.
var defaultLimits = limits{Steps: 5_000_000, Memory: 32 << 20, Time: 3 * time.Second, AtOnce: 2}

type request struct {
	Script    string          `json:"script"`
	Arguments json.RawMessage `json:"arguments"`
}

type job struct {
	request
	Limits limits `json:"limits"`
}

type outcome struct {
	Result json.RawMessage `json:"result,omitempty"`
	Output string          `json:"output,omitempty"`
	Steps  uint64          `json:"steps"`
	Error  string          `json:"error,omitempty"`
	Kept   bool            `json:"kept,omitempty"`
}

type runner struct {
	limits  limits
	slots   chan struct{}
	results results
}

func newRunner(limits limits, results results) *runner {
	return &runner{limits, make(chan struct{}, limits.AtOnce), results}
}

func (r *runner) handle(httpRequest *http.Request) (any, error) {
	var asked request
	if err := service.Decode(httpRequest, maxBody, &asked); err != nil {
		return nil, err
	}
	if strings.TrimSpace(asked.Script) == "" {
		return nil, service.Fail(http.StatusBadRequest, "script is empty")
	}
	task := job{asked, r.limits}
	key, err := keyOf(task)
	if err != nil {
		return nil, err
	}
	if result, found := r.results.find(key); found {
		return result, nil
	}
	queue, cancel := context.WithTimeout(httpRequest.Context(), r.limits.Time)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-queue.Done():
		return nil, service.Fail(http.StatusServiceUnavailable, "too many scripts are running")
	}
	result, err := r.run(httpRequest.Context(), task)
	if err != nil {
		return nil, err
	}
	r.results.keep(key, result)
	return result, nil
}

// run starts the script in a child process. Steps alone bound neither memory nor the time of one huge operation;
// a process can be limited and killed from outside.
func (r *runner) run(ctx context.Context, task job) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limits.Time)
	defer cancel()
	input, err := json.Marshal(task)
	if err != nil {
		return outcome{}, err
	}
	var stdout, stderr bytes.Buffer
	child := exec.CommandContext(ctx, "/proc/self/exe", childArgument)
	child.Env = []string{"GOMAXPROCS=1"}
	child.Stdin, child.Stdout, child.Stderr = bytes.NewReader(input), &stdout, &stderr
	err = child.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return outcome{}, service.Fail(http.StatusUnprocessableEntity, "the script ran longer than %s", r.limits.Time)
	case err != nil && outOfMemory(stderr.String()):
		return outcome{}, service.Fail(http.StatusUnprocessableEntity, "the script used more than %d MiB", r.limits.Memory>>20)
	case err != nil:
		return outcome{}, fmt.Errorf("script process: %w: %.500s", err, stderr.String())
	}
	var result outcome
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		return outcome{}, fmt.Errorf("script process answered %.200q: %w", stdout.String(), err)
	}
	if result.Error != "" {
		return outcome{}, service.Fail(http.StatusUnprocessableEntity, "%s", result.Error)
	}
	return result, nil
}

// The Go runtime ends with one of these when the kernel gives it no more memory.
func outOfMemory(stderr string) bool {
	return strings.Contains(stderr, "out of memory") || strings.Contains(stderr, "cannot allocate memory")
}

// runChild is the other side of run: limit oneself first, then touch the script.
func runChild(in io.Reader, out io.Writer) int {
	var asked job
	if err := json.NewDecoder(in).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, "job:", err)
		return 1
	}
	if err := limitMemory(asked.Limits.Memory); err != nil {
		fmt.Fprintln(os.Stderr, "memory limit:", err)
		return 1
	}
	var answer outcome
	result, output, steps, err := evaluate(asked.Script, string(asked.Arguments), asked.Limits.Steps)
	answer = outcome{Output: output, Steps: steps}
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.Result = json.RawMessage(result)
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil {
		return 1
	}
	return 0
}

// limitMemory allows this process to map so many bytes more than it has now. The address space is what is limited:
// Linux does not enforce a limit on resident memory.
func limitMemory(more uint64) error {
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return err
	}
	limit := pages*uint64(os.Getpagesize()) + more
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit})
}
