// SPDX-License-Identifier: Apache-2.0

// Package userns stands in for github.com/moby/sys/userns in runc.
//
// With version 2 of control groups a container's devices are limited by a BPF program, and runc forgives a refusal to
// load one only where it believes itself in a user namespace. A system container is refused just the same, so it counts
// as one here: its devices are limited from outside, for it and all that is in it. To grant it bpf(2) instead would let
// its root read the memory of the host. Where BPF programs may be loaded the answer is the original's.
package userns

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

const (
	nextProgramID = 11 // BPF_PROG_GET_NEXT_ID
	cgroup2Magic  = 0x63677270
)

// The number of bpf(2), which the standard library does not name.
var sysBpf = map[string]uintptr{"amd64": 321, "arm64": 280}[runtime.GOARCH]

// RunningInUserNS tells whether the process lacks the rights over the machine that root usually has.
var RunningInUserNS = sync.OnceValue(func() bool {
	return shiftedUsers() || (unifiedControlGroups() && bpfIsRefused())
})

// shiftedUsers is true where the user ids are not those of the initial namespace.
func shiftedUsers() bool {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(mapping)), " ") != "0 0 4294967295"
}

func unifiedControlGroups() bool {
	var fileSystem syscall.Statfs_t
	return syscall.Statfs("/sys/fs/cgroup", &fileSystem) == nil && fileSystem.Type == cgroup2Magic
}

// bpfIsRefused asks for something that root may ask anywhere but where the system call is filtered out.
func bpfIsRefused() bool {
	var attributes [16]byte
	_, _, err := syscall.Syscall(sysBpf, nextProgramID, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)
}
