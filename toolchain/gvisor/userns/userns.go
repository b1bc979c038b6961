// SPDX-License-Identifier: Apache-2.0

// Package userns stands in for github.com/moby/sys/userns in the gVisor shim.
//
// The shim lowers its oom score and forgives a refusal only where it believes itself in a user namespace. A machine
// whose root has no CAP_SYS_RESOURCE (a system container in a restricted environment) is refused just the same, so
// it counts as one here. With the capability the answer is the original's.
package userns

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

const capSysResource = 24

// RunningInUserNS tells whether the process lacks the rights over the machine that root usually has.
var RunningInUserNS = sync.OnceValue(func() bool {
	return shiftedUsers() || !effective(capSysResource)
})

// shiftedUsers is true where the user ids are not those of the initial namespace.
func shiftedUsers() bool {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(mapping)), " ") != "0 0 4294967295"
}

func effective(capability uint) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		if mask, found := strings.CutPrefix(line, "CapEff:"); found {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err != nil || bits&(1<<capability) != 0
		}
	}
	return true
}
