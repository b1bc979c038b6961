module hybrid.platform/toolchain/runc

go 1.26

require github.com/opencontainers/runc v1.5.2

// Its answer decides whether runc forgives that it may not load a BPF program; see userns/userns.go.
replace github.com/moby/sys/userns => ./userns
