package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"hybrid.platform/workloads/internal/service"
)

// The runner starts its own executable again; in a test that is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		os.Exit(runChild(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func post(t *testing.T, limits limits, script, arguments string) (int, outcome) {
	t.Helper()
	if arguments == "" {
		arguments = "{}"
	}
	body, err := json.Marshal(request{script, json.RawMessage(arguments)})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	handler := service.Handler(newRunner(limits, results{t.TempDir()}).handle)
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/run", strings.NewReader(string(body))))
	var answer outcome
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %s", err, recorder.Body)
	}
	return recorder.Code, answer
}

func TestAScriptPricesItsArguments(t *testing.T) {
	status, answer := post(t, defaultLimits, `
def price(amount, rate):
    print("pricing", amount)
    return {"total": amount * rate, "steps": [1, 2]}
`, `{"amount": 20, "rate": 1.5}`)
	if status != http.StatusOK || string(answer.Result) != `{"steps":[1,2],"total":30.0}` {
		t.Fatalf("got %d %s %s", status, answer.Result, answer.Error)
	}
	if answer.Output != "pricing 20\n" || answer.Steps == 0 {
		t.Errorf("got output %q, %d steps", answer.Output, answer.Steps)
	}
}

func TestABadScriptIsTheCallersFault(t *testing.T) {
	for name, c := range map[string]struct{ script, arguments, want string }{
		"syntax":              {"def price(:", "", "script.star:1"},
		"no entry point":      {"x = 1", "", "defines no function price"},
		"runtime error":       {"def price():\n  return 1 // 0", "", "division by zero"},
		"no files":            {"def price():\n  return open('/etc/passwd')", "", "undefined: open"},
		"no modules":          {"load('os', 'system')\ndef price():\n  return 1", "", "load not implemented"},
		"arguments":           {"def price():\n  return 1", "[1]", "must be an object"},
		"result without JSON": {"def price():\n  return price", "", "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := post(t, defaultLimits, c.script, c.arguments)
			if status != http.StatusUnprocessableEntity || !strings.Contains(answer.Error, c.want) {
				t.Fatalf("got %d %q, want 422 with %q", status, answer.Error, c.want)
			}
		})
	}
}

func TestAScriptCannotTakeMoreThanItsLimits(t *testing.T) {
	patient, hasty := defaultLimits, defaultLimits
	patient.Time = time.Minute
	hasty.Steps, hasty.Time = 1<<60, 300*time.Millisecond
	loop := "def price():\n  for i in range(1000000000):\n    pass"
	for name, c := range map[string]struct {
		limits       limits
		script, want string
	}{
		"steps":  {patient, loop, "too many steps"},
		"time":   {hasty, loop, "longer than 300ms"},
		"memory": {patient, "def price():\n  return len('x' * 500000000)", "more than 32 MiB"},
		"growth": {patient, "def price():\n  x = [0]\n  for i in range(40):\n    x = x + x\n  return 1", "more than 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := post(t, c.limits, c.script, "")
			if status != http.StatusUnprocessableEntity || !strings.Contains(answer.Error, c.want) {
				t.Fatalf("got %d %q, want 422 with %q", status, answer.Error, c.want)
			}
		})
	}
}

func TestScriptsBeyondTheSlotsAreTurnedAway(t *testing.T) {
	tight := defaultLimits
	tight.Time = 100 * time.Millisecond
	busy := newRunner(tight, results{t.TempDir()})
	for range tight.AtOnce {
		busy.slots <- struct{}{}
	}
	recorder := httptest.NewRecorder()
	body := strings.NewReader(`{"script": "def price():\n  return 1"}`)
	service.Handler(busy.handle).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/run", body))
	if recorder.Code != http.StatusServiceUnavailable {
		t.Fatalf("got %d %s", recorder.Code, recorder.Body)
	}
}

func TestKernelIsTheOneThatTheProcessSees(t *testing.T) {
	answer, err := kernel(nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.(map[string]string)["release"]; got != strings.TrimSpace(string(want)) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestTheSameScriptRunsOnceAlsoForAnotherPod(t *testing.T) {
	disk := results{t.TempDir()}
	ask := func(amount string) outcome {
		body := `{"script": "def price(amount):\n  return amount * 2", "arguments": {"amount": ` + amount + `}}`
		recorder := httptest.NewRecorder()
		service.Handler(newRunner(defaultLimits, disk).handle).ServeHTTP(
			recorder, httptest.NewRequest(http.MethodPost, "/run", strings.NewReader(body)))
		var answer outcome
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || recorder.Code != http.StatusOK {
			t.Fatalf("%d %s %v", recorder.Code, recorder.Body, err)
		}
		return answer
	}
	if first := ask("3"); first.Kept {
		t.Fatal("kept before it was ever run")
	}
	if second := ask("3"); !second.Kept || string(second.Result) != "6" {
		t.Errorf("got %+v, want the kept 6", second)
	}
	if other := ask("4"); other.Kept || string(other.Result) != "8" {
		t.Errorf("got %+v, want a fresh 8", other)
	}
}

func TestASlotBelongsToWhoWasThereLast(t *testing.T) {
	disk := results{t.TempDir()}
	first, second := "abc1", "abc2"
	disk.keep(first, outcome{Steps: 1})
	disk.keep(second, outcome{Steps: 2})
	if _, found := disk.find(first); found {
		t.Error("a result was given out for another script")
	}
	if result, found := disk.find(second); !found || result.Steps != 2 {
		t.Errorf("got %+v, %t", result, found)
	}
	files, err := os.ReadDir(disk.directory)
	if err != nil || len(files) != 1 {
		t.Errorf("got %d files, %v; want the one slot", len(files), err)
	}
}

func TestWithoutADiskNothingIsKept(t *testing.T) {
	disk := results{t.TempDir() + "/absent"}
	disk.keep("abc1", outcome{Steps: 1})
	if _, found := disk.find("abc1"); found {
		t.Error("found a result that could not be kept")
	}
}
