package service

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

func get(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder.Code, recorder.Body.String()
}

func TestAnInternalErrorKeepsItsCauseFromTheCaller(t *testing.T) {
	status, body := get(t, Handler(func(*http.Request) (any, error) { return nil, errors.New("password of db is x") }), "/")
	if status != http.StatusInternalServerError || strings.Contains(body, "password") {
		t.Fatalf("got %d %s", status, body)
	}
}

func TestAFailureTellsTheCallerWhy(t *testing.T) {
	status, body := get(t, Handler(func(*http.Request) (any, error) { return nil, Fail(http.StatusTeapot, "no %s", "tea") }), "/")
	if status != http.StatusTeapot || strings.TrimSpace(body) != `{"error":"no tea"}` {
		t.Fatalf("got %d %s", status, body)
	}
}

func TestCheckSaysWhatIsNotReady(t *testing.T) {
	status, body := get(t, Check(func(context.Context) error { return errors.New("database gone") }), "/")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "database gone") {
		t.Fatalf("got %d %s", status, body)
	}
}

func TestDecodeRefusesUnknownFieldsAndLargeBodies(t *testing.T) {
	for body, want := range map[string]int{
		`{"a": 1}`: 0,
		`{"b": 1}`: http.StatusBadRequest,
		`{"a": 1` + strings.Repeat(" ", 100) + `}`: http.StatusRequestEntityTooLarge,
	} {
		var into struct{ A int }
		err := Decode(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), 64, &into)
		var failure Failure
		errors.As(err, &failure)
		if failure.Status != want {
			t.Errorf("%q: got %v, want status %d", body, err, want)
		}
	}
}

func TestMetricsAreCountedByRouteNotByPath(t *testing.T) {
	metrics, mux := NewMetrics(), http.NewServeMux()
	mux.Handle("GET /things/{id}", Handler(func(*http.Request) (any, error) { return 1, nil }))
	observed := metrics.Observe(mux)
	get(t, observed, "/things/1")
	get(t, observed, "/things/2")
	get(t, observed, "/elsewhere")
	_, text := get(t, metrics, "/metrics")
	for _, want := range []string{
		`http_request_duration_seconds_count{route="GET /things/{id}",method="GET",status="200"} 2`,
		`http_request_duration_seconds_bucket{route="GET /things/{id}",method="GET",status="200",le="+Inf"} 2`,
		`http_request_duration_seconds_count{route="none",method="GET",status="404"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

func TestARunningRequestEndsBeforeTheServerDoes(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	address := free.Addr().String()
	free.Close()

	arrived := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(context.Background(), port, http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			close(arrived)
			time.Sleep(200 * time.Millisecond)
			io.WriteString(response, "done")
		}))
	}()
	waitForPort(t, address)
	body := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + address)
		if err != nil {
			body <- err.Error()
			return
		}
		text, _ := io.ReadAll(response.Body)
		body <- string(text)
	}()
	<-arrived
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-body; got != "done" {
		t.Errorf("the request was cut off: %s", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func waitForPort(t *testing.T, address string) {
	t.Helper()
	for range 100 {
		if connection, err := net.Dial("tcp", address); err == nil {
			connection.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %s", address)
}
