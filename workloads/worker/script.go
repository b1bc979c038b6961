package main

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

const (
	entryPoint = "price"
	// What a script prints is a help to its author, not a channel.
	maxOutput = 4096
)

var errSteps = errors.New("the script took too many steps")

// evaluate runs a script that defines price(...) and calls it with the arguments (a JSON object).
// The result is JSON again. Scripts cannot load modules, read the clock, or reach files or the network:
// Starlark gives them no means.
func evaluate(script, arguments string, maxSteps uint64) (result, output string, steps uint64, err error) {
	var printed strings.Builder
	thread := &starlark.Thread{Name: "script", Print: func(_ *starlark.Thread, line string) {
		if printed.Len()+len(line) < maxOutput {
			fmt.Fprintln(&printed, line)
		}
	}}
	thread.SetMaxExecutionSteps(maxSteps)
	thread.OnMaxSteps = func(thread *starlark.Thread) { thread.Cancel(errSteps.Error()) }
	defer func() { output, steps = printed.String(), thread.ExecutionSteps() }()

	builtins := starlark.StringDict{"math": math.Module}
	globals, err := starlark.ExecFileOptions(&syntax.FileOptions{Set: true}, thread, "script.star", script, builtins)
	if err != nil {
		return "", "", 0, explain(thread, err)
	}
	price, ok := globals[entryPoint].(starlark.Callable)
	if !ok {
		return "", "", 0, fmt.Errorf("the script defines no function %s", entryPoint)
	}
	named, err := keywords(thread, arguments)
	if err != nil {
		return "", "", 0, err
	}
	value, err := starlark.Call(thread, price, nil, named)
	if err != nil {
		return "", "", 0, explain(thread, err)
	}
	encoded, err := starlark.Call(thread, json.Module.Members["encode"], starlark.Tuple{value}, nil)
	if err != nil {
		return "", "", 0, fmt.Errorf("the result of %s is not JSON: %w", entryPoint, err)
	}
	return string(encoded.(starlark.String)), "", 0, nil
}

func keywords(thread *starlark.Thread, arguments string) ([]starlark.Tuple, error) {
	if arguments == "" {
		return nil, nil
	}
	value, err := starlark.Call(thread, json.Module.Members["decode"], starlark.Tuple{starlark.String(arguments)}, nil)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	object, ok := value.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("arguments must be an object, not %s", value.Type())
	}
	return object.Items(), nil
}

func explain(thread *starlark.Thread, err error) error {
	var failed *starlark.EvalError
	if errors.As(err, &failed) {
		if strings.Contains(failed.Msg, errSteps.Error()) {
			return errSteps
		}
		return errors.New(failed.Backtrace())
	}
	return err
}
