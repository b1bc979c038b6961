// Worker runs the pricing scripts that customers write. It trusts none of them: every script gets a process of its
// own with limits on steps, time and memory, and the platform puts the whole worker into a sandboxed runtime.
package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"

	"golang.org/x/sys/unix"

	"hybrid.platform/workloads/internal/service"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		os.Exit(runChild(os.Stdin, os.Stdout))
	}
	metrics, mux := service.NewMetrics(), http.NewServeMux()
	kept := results{service.Environment("DATA_DIRECTORY", "/data")}
	mux.Handle("GET /healthz", service.Check(service.Alive))
	mux.Handle("GET /readyz", service.Check(service.Alive))
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /kernel", service.Handler(kernel))
	mux.Handle("POST /run", service.Handler(newRunner(defaultLimits, kept).handle))
	if err := service.Serve(context.Background(), service.Port("PORT", 8081), metrics.Observe(mux)); err != nil {
		slog.Error("worker ended", "error", err)
		os.Exit(1)
	}
}

// kernel tells which kernel this process sees: a sandbox shows its own, not the host's.
func kernel(*http.Request) (any, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	return map[string]string{
		"system":  unix.ByteSliceToString(name.Sysname[:]),
		"release": unix.ByteSliceToString(name.Release[:]),
		"version": unix.ByteSliceToString(name.Version[:]),
		"machine": unix.ByteSliceToString(name.Machine[:]),
	}, nil
}
