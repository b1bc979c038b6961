// SPDX-License-Identifier: Apache-2.0

// Command peer answers everybody with its name and the kernel that it sees; `peer ask URL...` prints what each URL
// answered, as one JSON list. Tests of a cluster's network run it as their workloads.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hybrid.platform/workloads/internal/service"
)

const (
	patience = 3 * time.Second
	longest  = 4096
)

// An outcome is what one URL answered, or why it did not.
type outcome struct {
	URL    string `json:"url"`
	Answer any    `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ask" {
		if err := json.NewEncoder(os.Stdout).Encode(askAll(os.Args[2:])); err != nil {
			os.Exit(1)
		}
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", service.Check(service.Alive))
	mux.Handle("GET /readyz", service.Check(service.Alive))
	mux.Handle("GET /", service.Handler(introduce))
	if err := service.Serve(context.Background(), service.Port("PORT", 8080), mux); err != nil {
		slog.Error("peer ended", "error", err)
		os.Exit(1)
	}
}

func introduce(*http.Request) (any, error) {
	var seen unix.Utsname
	if err := unix.Uname(&seen); err != nil {
		return nil, err
	}
	return map[string]string{
		"name":   unix.ByteSliceToString(seen.Nodename[:]),
		"kernel": unix.ByteSliceToString(seen.Release[:]),
	}, nil
}

// askAll asks all at once, each over a connection of its own, so that a service can choose anew for each.
func askAll(urls []string) []outcome {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	outcomes := make([]outcome, len(urls))
	var asked sync.WaitGroup
	for number, url := range urls {
		asked.Go(func() { outcomes[number] = ask(client, url) })
	}
	asked.Wait()
	return outcomes
}

func ask(client *http.Client, url string) outcome {
	response, err := client.Get(url)
	if err != nil {
		return outcome{URL: url, Error: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, longest))
	if err != nil {
		return outcome{URL: url, Error: err.Error()}
	}
	if !json.Valid(body) {
		return outcome{URL: url, Answer: string(body)}
	}
	return outcome{URL: url, Answer: json.RawMessage(body)}
}
