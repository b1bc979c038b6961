// Package service is what every reference workload has in common: JSON over HTTP, metrics and a graceful end.
package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// A Failure is an error that the caller may see, with the status that says whose fault it is.
type Failure struct {
	Status  int
	Message string
}

func (f Failure) Error() string { return f.Message }

// Fail makes a Failure.
func Fail(status int, format string, arguments ...any) error {
	return Failure{status, fmt.Sprintf(format, arguments...)}
}

// A Handler answers with a value to be written as JSON, or with an error.
type Handler func(request *http.Request) (any, error)

func (h Handler) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	answer, err := h(request)
	if err == nil {
		writeJSON(response, http.StatusOK, answer)
		return
	}
	var failure Failure
	if !errors.As(err, &failure) {
		// The cause is for the operator; the caller learns only that it is not their fault.
		slog.ErrorContext(request.Context(), "request failed", "path", request.URL.Path, "error", err)
		failure = Failure{http.StatusInternalServerError, "internal error"}
	}
	writeJSON(response, failure.Status, map[string]string{"error": failure.Message})
}

func writeJSON(response http.ResponseWriter, status int, value any) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	if err := json.NewEncoder(response).Encode(value); err != nil {
		slog.Warn("answer not written", "error", err)
	}
}

// Decode reads one JSON object of at most limit bytes and refuses fields that nobody asked for.
func Decode(request *http.Request, limit int64, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, request.Body, limit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return Fail(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", limit)
		}
		return Fail(http.StatusBadRequest, "the body is not the expected JSON: %v", err)
	}
	return nil
}

// Check answers 200 while probe succeeds and 503 with its reason while it does not.
func Check(probe func(context.Context) error) http.Handler {
	return Handler(func(request *http.Request) (any, error) {
		ctx, cancel := context.WithTimeout(request.Context(), 2*time.Second)
		defer cancel()
		if err := probe(ctx); err != nil {
			return nil, Fail(http.StatusServiceUnavailable, "not ready: %v", err)
		}
		return map[string]string{"status": "ok"}, nil
	})
}

// Alive is the probe of a process that needs nobody.
func Alive(context.Context) error { return nil }

// Environment returns a variable's value or the default.
func Environment(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// Port returns the port that the variable asks for, or the default; anything but a port ends the process.
func Port(name string, fallback int) int {
	port, err := strconv.Atoi(Environment(name, strconv.Itoa(fallback)))
	if err != nil || port < 1 || port > 65535 {
		slog.Error("not a port", "variable", name, "value", os.Getenv(name))
		os.Exit(2)
	}
	return port
}

// Serve answers on the port until SIGTERM or SIGINT, then lets running requests end.
func Serve(ctx context.Context, port int, handler http.Handler) error {
	server := &http.Server{
		Addr:              fmt.Sprintf(":%d", port),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	slog.Info("listening", "port", port)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		slog.Info("shutting down")
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	}
}
