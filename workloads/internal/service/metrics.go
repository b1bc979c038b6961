package service

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Upper bounds in seconds; the reference services answer in milliseconds, a script may take seconds.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

type series struct{ route, method, status string }

type observations struct {
	within []uint64
	count  uint64
	sum    float64
}

// Metrics counts and times requests by route, and tells them in Prometheus' text format.
type Metrics struct {
	mutex    sync.Mutex
	requests map[series]*observations
	started  time.Time
}

// NewMetrics starts with nothing counted.
func NewMetrics() *Metrics {
	return &Metrics{requests: map[series]*observations{}, started: time.Now()}
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Observe counts every request that the mux answers, under its pattern: a path of the caller's choice never
// becomes a label, so nobody outside can grow the number of series.
func (m *Metrics) Observe(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		_, route := mux.Handler(request)
		if route == "" {
			route = "none"
		}
		recorder := &statusRecorder{response, http.StatusOK}
		begin := time.Now()
		mux.ServeHTTP(recorder, request)
		m.observe(series{route, knownMethod(request.Method), strconv.Itoa(recorder.status)}, time.Since(begin))
	})
}

func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
		return method
	}
	return "other"
}

func (m *Metrics) observe(key series, took time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	seen := m.requests[key]
	if seen == nil {
		seen = &observations{within: make([]uint64, len(buckets))}
		m.requests[key] = seen
	}
	seconds := took.Seconds()
	for i, bound := range buckets {
		if seconds <= bound {
			seen.within[i]++
		}
	}
	seen.count++
	seen.sum += seconds
}

func (m *Metrics) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	response.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.write(response)
}

func (m *Metrics) write(out io.Writer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	keys := make([]series, 0, len(m.requests))
	for key := range m.requests {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b series) int {
		return strings.Compare(a.route+a.method+a.status, b.route+b.method+b.status)
	})
	name := "http_request_duration_seconds"
	fmt.Fprintf(out, "# HELP %s Time to answer a request.\n# TYPE %s histogram\n", name, name)
	for _, key := range keys {
		seen := m.requests[key]
		labels := fmt.Sprintf("route=%q,method=%q,status=%q", key.route, key.method, key.status)
		for i, bound := range buckets {
			fmt.Fprintf(out, "%s_bucket{%s,le=\"%g\"} %d\n", name, labels, bound, seen.within[i])
		}
		fmt.Fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %d\n", name, labels, seen.count)
		fmt.Fprintf(out, "%s_sum{%s} %g\n%s_count{%s} %d\n", name, labels, seen.sum, name, labels, seen.count)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	gauge(out, "go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	gauge(out, "go_memstats_heap_alloc_bytes", "Bytes of live heap objects.", float64(memory.HeapAlloc))
	gauge(out, "process_start_time_seconds", "Start of the process since the epoch.", float64(m.started.Unix()))
}

func gauge(out io.Writer, name, help string, value float64) {
	fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %g\n", name, help, name, name, value)
}
