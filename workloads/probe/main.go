// SPDX-License-Identifier: Apache-2.0

// Command probe tries TCP connections and prints one JSON object: for each address:port of its arguments, whether
// something answered the connection. The tests run it in place of a workload that was taken over.
package main

import (
	"encoding/json"
	"net"
	"os"
	"sync"
	"time"
)

const (
	patience = 3 * time.Second
	// A policy engine needs a moment to learn of a new pod; before that it proves nothing, either way.
	settle = 5 * time.Second
)

func main() {
	time.Sleep(settle)
	reached := make(map[string]bool)
	var lock sync.Mutex
	var tries sync.WaitGroup
	for _, target := range os.Args[1:] {
		tries.Go(func() {
			connection, err := net.DialTimeout("tcp", target, patience)
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
