package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"hybrid.platform/workloads/internal/service"
)

const maxWorkerAnswer = 1 << 20

// Worker is the sandboxed service that runs customers' scripts.
type Worker struct {
	base   string
	client *http.Client
}

func workerFromEnvironment() Worker {
	return newWorker("http://" + net.JoinHostPort(
		service.Environment("WORKER_HOST", "localhost"), service.Environment("WORKER_PORT", "8081")))
}

func newWorker(base string) Worker {
	return Worker{base, &http.Client{Timeout: 10 * time.Second}}
}

// Run hands a script over as it came; the worker's verdict on it is the caller's.
func (w Worker) Run(ctx context.Context, script json.RawMessage) (json.RawMessage, error) {
	return w.call(ctx, http.MethodPost, "/run", bytes.NewReader(script))
}

// Kernel asks which kernel the worker sees.
func (w Worker) Kernel(ctx context.Context) (string, error) {
	answer, err := w.call(ctx, http.MethodGet, "/kernel", nil)
	if err != nil {
		return "", err
	}
	var kernel struct{ System, Release string }
	err = json.Unmarshal(answer, &kernel)
	return kernel.System + " " + kernel.Release, err
}

func (w Worker) call(ctx context.Context, method, path string, body io.Reader) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.base+path, body)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxWorkerAnswer))
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	var refused struct{ Error string }
	switch {
	case response.StatusCode == http.StatusOK && json.Valid(answer):
		return answer, nil
	case response.StatusCode < 500 || response.StatusCode == http.StatusServiceUnavailable:
		if json.Unmarshal(answer, &refused) == nil && refused.Error != "" {
			return nil, service.Fail(response.StatusCode, "%s", refused.Error)
		}
	}
	return nil, fmt.Errorf("worker: unexpected answer %d", response.StatusCode)
}
