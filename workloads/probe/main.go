// SPDX-License-Identifier: Apache-2.0

// Command probe tries TCP connections and prints one JSON object: for each address:port of its arguments, whether
// something answered the connection. The tests run it in place of a workload that was taken over.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

func main() {
	// Until the policy engine has learnt of a new pod nothing is let through, so what is open is asked later.
	time.Sleep(duration("SETTLE"))
	within := duration("WITHIN")
	reached := make(map[string]bool)
	var lock sync.Mutex
	var tries sync.WaitGroup
	for _, target := range os.Args[1:] {
		tries.Go(func() {
			connection, err := net.DialTimeout("tcp", target, within)
			if err == nil {
				_ = connection.Close()
			}
			lock.Lock()
			defer lock.Unlock()
			reached[target] = err == nil
		})
	}
	tries.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(reached); err != nil {
		os.Exit(1)
	}
}

func duration(variable string) time.Duration {
	value, err := time.ParseDuration(os.Getenv(variable))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
		os.Exit(2)
	}
	return value
}
