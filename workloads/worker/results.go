package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Larger ones are not kept, so that all slots together fit on a disk of 1 GiB.
const maxKept = 64 << 10

// results keeps what scripts came to on the workload's disk: the same script with the same arguments is run once,
// also when the pod that ran it is gone. Each result has one of 4,096 slots, which it takes from whoever was there
// before, so the disk never fills up.
type results struct{ directory string }

type kept struct {
	Key     string  `json:"key"`
	Outcome outcome `json:"outcome"`
}

// keyOf names a run by everything that its result depends on.
func keyOf(asked job) (string, error) {
	input, err := json.Marshal(asked)
	sum := sha256.Sum256(input)
	return hex.EncodeToString(sum[:]), err
}

func (r results) slot(key string) string { return filepath.Join(r.directory, key[:3]+".json") }

// find returns a result of before; a file that cannot be read is as good as none.
func (r results) find(key string) (outcome, bool) {
	text, err := os.ReadFile(r.slot(key))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			slog.Warn("kept result not read", "error", err)
		}
		return outcome{}, false
	}
	var found kept
	if json.Unmarshal(text, &found) != nil || found.Key != key {
		return outcome{}, false
	}
	found.Outcome.Kept = true
	return found.Outcome, true
}

// keep writes a result whole or not at all; without a disk nothing is kept.
func (r results) keep(key string, result outcome) {
	text, err := json.Marshal(kept{key, result})
	if err != nil || len(text) > maxKept {
		return
	}
	if err := r.write(r.slot(key), text); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("result not kept", "error", err)
	}
}

func (r results) write(path string, text []byte) error {
	unfinished, err := os.CreateTemp(r.directory, ".unfinished-*")
	if err != nil {
		return err
	}
	_, err = unfinished.Write(text)
	if err = errors.Join(err, unfinished.Close()); err == nil {
		err = os.Rename(unfinished.Name(), path)
	}
	if err != nil {
		os.Remove(unfinished.Name())
	}
	return err
}
