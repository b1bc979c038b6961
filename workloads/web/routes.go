package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"time"

	"hybrid.platform/workloads/internal/service"
)

const (
	maxBody   = 64 << 10
	maxListed = 100
)

type entries interface {
	Add(ctx context.Context, entry NewEntry) (Entry, error)
	List(ctx context.Context, account string, limit int) ([]Entry, error)
}

// routes is what the service answers, but for its probes.
func routes(ledger entries, tariffs Tariffs, worker Worker) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", service.Check(service.Alive))
	mux.Handle("POST /entries", service.Handler(func(request *http.Request) (any, error) {
		var entry NewEntry
		if err := service.Decode(request, maxBody, &entry); err != nil {
			return nil, err
		}
		if err := entry.validate(); err != nil {
			return nil, service.Fail(http.StatusBadRequest, "%v", err)
		}
		return ledger.Add(request.Context(), entry)
	}))
	mux.Handle("GET /entries", service.Handler(func(request *http.Request) (any, error) {
		account := request.URL.Query().Get("account")
		if account != "" {
			if err := validAccount(account); err != nil {
				return nil, service.Fail(http.StatusBadRequest, "%v", err)
			}
		}
		return ledger.List(request.Context(), account, maxListed)
	}))
	mux.Handle("GET /price", service.Handler(func(request *http.Request) (any, error) {
		currency := request.URL.Query().Get("currency")
		if err := validCurrency(currency); err != nil {
			return nil, service.Fail(http.StatusBadRequest, "%v", err)
		}
		return tariffs.Price(request.Context(), currency)
	}))
	mux.Handle("POST /scripts", service.Handler(func(request *http.Request) (any, error) {
		var script json.RawMessage
		if err := service.Decode(request, maxBody, &script); err != nil {
			return nil, err
		}
		return worker.Run(request.Context(), script)
	}))
	mux.Handle("GET /{$}", page(ledger, tariffs, worker))
	return mux
}

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// A part of the page shows what its service said just now, or that it did not answer.
type part[T any] struct {
	Value T
	Error error
}

func ask[T any](value T, err error) part[T] {
	if err != nil {
		slog.Warn("page part", "error", err)
	}
	return part[T]{value, err}
}

func page(ledger entries, tariffs Tariffs, worker Worker) http.HandlerFunc {
	host, _ := os.Hostname()
	return func(response http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), 3*time.Second)
		defer cancel()
		view := struct {
			Entries part[[]Entry]
			Price   part[Price]
			Kernel  part[string]
			Host    string
		}{
			ask(ledger.List(ctx, "", 10)), ask(tariffs.Price(ctx, "EUR")), ask(worker.Kernel(ctx)), host,
		}
		response.Header().Set("Content-Type", "text/html; charset=utf-8")
		response.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		if err := pageTemplate.Execute(response, view); err != nil {
			slog.Warn("page not written", "error", err)
		}
	}
}
