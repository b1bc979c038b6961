package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type memoryLedger struct {
	entries []Entry
	broken  error
}

func (m *memoryLedger) Add(_ context.Context, entry NewEntry) (Entry, error) {
	booked := Entry{int64(len(m.entries) + 1), entry.Account, entry.Amount, entry.Currency, time.Unix(0, 0).UTC()}
	m.entries = append(m.entries, booked)
	return booked, m.broken
}

func (m *memoryLedger) List(_ context.Context, account string, _ int) ([]Entry, error) {
	found := []Entry{}
	for _, entry := range m.entries {
		if account == "" || entry.Account == account {
			found = append(found, entry)
		}
	}
	return found, m.broken
}

func tariffsThatAnswer(t *testing.T, answer func(question string) string) Tariffs {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(connection).ReadString('\n')
			io.WriteString(connection, answer(strings.TrimSpace(line)))
			connection.Close()
		}
	}()
	return Tariffs{listener.Addr().String()}
}

func rates(question string) string {
	if question == "RATE EUR" {
		return "RATE EUR 1.0842 2026-11-01\n"
	}
	return "ERROR unknown currency\n"
}

func workerThatAnswers(t *testing.T, status int, body string) Worker {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		response.WriteHeader(status)
		io.WriteString(response, body)
	}))
	t.Cleanup(server.Close)
	return newWorker(server.URL)
}

func call(t *testing.T, handler http.Handler, method, target, body string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, target, strings.NewReader(body)))
	return recorder.Code, strings.TrimSpace(recorder.Body.String())
}

func TestABookedEntryIsListedForItsAccountOnly(t *testing.T) {
	web := routes(&memoryLedger{}, Tariffs{}, Worker{})
	for _, account := range []string{"rent", "food"} {
		body := fmt.Sprintf(`{"account": %q, "amount": 12.50, "currency": "EUR"}`, account)
		if status, answer := call(t, web, "POST", "/entries", body); status != http.StatusOK {
			t.Fatalf("got %d %s", status, answer)
		}
	}
	status, answer := call(t, web, "GET", "/entries?account=rent", "")
	var listed []Entry
	if err := json.Unmarshal([]byte(answer), &listed); err != nil {
		t.Fatal(err)
	}
	// The amount comes back digit for digit.
	if status != http.StatusOK || len(listed) != 1 || listed[0].Account != "rent" || listed[0].Amount != "12.50" {
		t.Fatalf("got %d %s", status, answer)
	}
}

func TestABadEntryIsRefusedWithItsReasonAndNotBooked(t *testing.T) {
	ledger := &memoryLedger{}
	web := routes(ledger, Tariffs{}, Worker{})
	for body, want := range map[string]string{
		`{"account": "", "amount": 1, "currency": "EUR"}`:                 "account",
		`{"account": "a b", "amount": 1, "currency": "EUR"}`:              "account",
		`{"account": "a", "amount": 1.234, "currency": "EUR"}`:            "amount",
		`{"account": "a", "amount": 1e9, "currency": "EUR"}`:              "amount",
		`{"account": "a", "amount": 1, "currency": "eur"}`:                "currency",
		`{"account": "a", "amount": 1, "currency": "EUR", "extra": true}`: "extra",
		`not json`: "JSON",
	} {
		status, answer := call(t, web, "POST", "/entries", body)
		if status != http.StatusBadRequest || !strings.Contains(answer, want) {
			t.Errorf("%s: got %d %s, want 400 about %s", body, status, answer, want)
		}
	}
	if len(ledger.entries) != 0 {
		t.Errorf("booked: %v", ledger.entries)
	}
}

func TestPriceComesFromTheTariffService(t *testing.T) {
	web := routes(&memoryLedger{}, tariffsThatAnswer(t, rates), Worker{})
	status, answer := call(t, web, "GET", "/price?currency=EUR", "")
	if status != http.StatusOK || answer != `{"currency":"EUR","rate":1.0842,"since":"2026-11-01"}` {
		t.Errorf("got %d %s", status, answer)
	}
	if status, answer = call(t, web, "GET", "/price?currency=XXX", ""); status != http.StatusNotFound {
		t.Errorf("got %d %s", status, answer)
	}
}

func TestACurrencyCannotSmuggleACommandToTheTariffService(t *testing.T) {
	asked := false
	web := routes(&memoryLedger{}, tariffsThatAnswer(t, func(string) string { asked = true; return "" }), Worker{})
	if status, answer := call(t, web, "GET", "/price?currency=EUR%0ARELOAD", ""); status != http.StatusBadRequest || asked {
		t.Errorf("got %d %s, asked %v", status, answer, asked)
	}
}

func TestATariffServiceThatTalksNonsenseIsOurFault(t *testing.T) {
	for _, nonsense := range []string{"HELLO\n", "RATE USD 1 2026-01-01\n", "", strings.Repeat("x", 1000)} {
		web := routes(&memoryLedger{}, tariffsThatAnswer(t, func(string) string { return nonsense }), Worker{})
		if status, answer := call(t, web, "GET", "/price?currency=EUR", ""); status != http.StatusInternalServerError {
			t.Errorf("%.20q: got %d %s", nonsense, status, answer)
		}
	}
}

func TestTheWorkersVerdictIsTheCallers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   int
	}{
		{http.StatusOK, `{"result":30,"steps":7}`, http.StatusOK},
		{http.StatusUnprocessableEntity, `{"error":"the script took too many steps"}`, http.StatusUnprocessableEntity},
		{http.StatusServiceUnavailable, `{"error":"too many scripts are running"}`, http.StatusServiceUnavailable},
		{http.StatusOK, `not json`, http.StatusInternalServerError},
		{http.StatusInternalServerError, `{"error":"internal error"}`, http.StatusInternalServerError},
	} {
		web := routes(&memoryLedger{}, Tariffs{}, workerThatAnswers(t, c.status, c.body))
		status, answer := call(t, web, "POST", "/scripts", `{"script": "def price():\n  return 1"}`)
		if status != c.want || status != http.StatusInternalServerError && answer != c.body {
			t.Errorf("worker %d %s: got %d %s", c.status, c.body, status, answer)
		}
	}
}

func TestThePageShowsWhatEachServiceSaid(t *testing.T) {
	ledger := &memoryLedger{}
	worker := workerThatAnswers(t, http.StatusOK, `{"system":"Linux","release":"4.19.0-gvisor"}`)
	web := routes(ledger, tariffsThatAnswer(t, rates), worker)
	ledger.Add(context.Background(), NewEntry{"<script>", "9.99", "EUR"})
	status, html := call(t, web, "GET", "/", "")
	for _, want := range []string{"9.99", "1.0842", "4.19.0-gvisor", "&lt;script&gt;"} {
		if status != http.StatusOK || !strings.Contains(html, want) {
			t.Errorf("got %d without %s", status, want)
		}
	}
	if strings.Contains(html, "no answer") {
		t.Error("all services answered, but the page denies it")
	}
}

func TestThePageStandsWhenTheServicesAreDown(t *testing.T) {
	web := routes(&memoryLedger{broken: errors.New("gone")}, Tariffs{"127.0.0.1:1"}, newWorker("http://127.0.0.1:1"))
	status, html := call(t, web, "GET", "/", "")
	if got := strings.Count(html, "no answer"); status != http.StatusOK || got != 3 {
		t.Errorf("got %d with %d parts down, want 3", status, got)
	}
}
